import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset.split import split_counts
from ich_mlflow.figures.counts import split_counts_figure

SPLITS = ("train", "validation", "test")


def counts(train=(30, 3), validation=(8, 1), test=(0, 0)):
    rows = {
        "patients": [10, 2, 2],
        "slices": [1000, 200, 190],
        "subdural_slices": [train[0], validation[0], test[0]],
        "subdural_patients": [train[1], validation[1], test[1]],
    }
    return pd.DataFrame(rows, index=pd.Index(SPLITS, name="split"))


def test_numbers_stand_on_the_bars_and_patients_below():
    (axes,) = split_counts_figure(counts()).axes
    assert [text.get_text() for text in axes.texts] == ["30", "8", "0"]
    assert axes.get_xticklabels()[0].get_text() == "subdural\n3 / 1 / 0"


def test_the_legend_has_patients_and_slices():
    (axes,) = split_counts_figure(counts()).axes
    assert axes.get_legend().get_texts()[0].get_text() == "train: 10 patients, 1,000 slices"


def test_the_axis_is_logarithmic_only_where_the_bars_differ_much():
    assert split_counts_figure(counts()).axes[0].get_yscale() == "linear"
    assert split_counts_figure(counts(train=(3000, 3))).axes[0].get_yscale() == "symlog"


def test_large_numbers_are_short():
    (axes,) = split_counts_figure(counts(train=(12_345, 9), validation=(123_456, 9))).axes
    assert [text.get_text() for text in axes.texts] == ["12.3k", "123k", "0"]


def test_no_positives_at_all_can_be_saved(tmp_path):
    split_counts_figure(counts((0, 0), (0, 0)), note="phantoms").savefig(tmp_path / "counts.png")
    assert (tmp_path / "counts.png").stat().st_size > 1000


def test_takes_what_split_counts_returns():
    patients, subtypes = np.array(["a", "a", "b", "c"]), np.eye(4, 5)
    frame = split_counts(patients, subtypes, np.array(["train", "train", "validation", "test"]))
    (axes,) = split_counts_figure(frame).axes
    assert len(axes.get_xticklabels()) == 6


def test_refuses_counts_without_labels():
    with pytest.raises(ValueError, match="<label>_slices"):
        split_counts_figure(counts()[["patients", "slices"]])
