from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ich_mlflow.figures.drift import samples_beside, share_over_time

TIMES = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(6)]
VALUES = np.array([0.2, 0.3, 0.25, 0.4, 0.5, 0.45])


def test_a_share_over_time_tells_reference_from_window():
    figure = share_over_time(
        TIMES, VALUES, VALUES - 0.1, VALUES + 0.1, num_reference=3, ylabel="share", title="t", note="n"
    )
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["reference", "window"]
    assert axes.get_ylim()[1] > 0.6


@pytest.mark.parametrize("num_reference", [0, 6])
def test_both_parts_must_be_there(num_reference):
    with pytest.raises(ValueError, match="of the reference"):
        share_over_time(TIMES, VALUES, VALUES, VALUES, num_reference=num_reference, ylabel="", title="")


def test_samples_have_a_panel_each_and_drift_is_named():
    rng = np.random.default_rng(0)
    samples = {
        "a": (rng.normal(size=50), rng.normal(size=30)),
        "b": (np.ones(20), np.ones(20)),
        "c": (rng.normal(size=9), np.zeros(3)),
    }
    figure = samples_beside(samples, drifted=["a"], title="t")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a: drift", "b", "c", ""]
    heights = [patch.get_path().vertices[:, 1].sum() for patch in figure.axes[0].patches]
    assert len(heights) == 2
    with pytest.raises(ValueError, match="no signal to draw"):
        samples_beside({}, title="t")
