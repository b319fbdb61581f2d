import numpy as np
import pandas as pd
import pytest

from ich_mlflow.figures.search import (
    history_figure,
    importance_figure,
    parallel_figure,
    slice_figure,
    timeline_figure,
)

DIMENSIONS = ["learning_rate", "loss", "focal_gamma", "flip"]
TRIALS = pd.DataFrame(
    {
        "trial": [0, 1, 2, 3],
        "state": ["complete", "pruned", "failed", "complete"],
        "value": [0.8, 0.5, np.nan, 0.9],
        "started": [0.0, 0.0, 60.0, 90.0],
        "ended": [50.0, 80.0, 70.0, 200.0],
        "worker": ["0", "1", "0", "1"],
        "learning_rate": [1e-4, 1e-5, 1e-3, 1e-2],
        "loss": ["bce", "focal", "bce", "focal"],
        "focal_gamma": [np.nan, 1.0, np.nan, 3.0],
        "flip": [True, False, True, True],
    }
)


def test_the_best_so_far_follows_complete_trials_in_the_order_of_their_end():
    axes = history_figure(TRIALS, said="AUC", higher_is_better=True).axes[0]
    # ended in the order 0, 2, 1, 3; a pruned or failed one is never the best
    assert axes.lines[0].get_ydata().tolist() == [0.8, 0.8, 0.8, 0.9]
    falling = history_figure(TRIALS, said="loss", higher_is_better=False).axes[0]
    assert falling.lines[0].get_ydata().tolist() == [0.8, 0.8, 0.8, 0.8]


def test_the_largest_importance_stands_on_top():
    axes = importance_figure({"dropout": 0.1, "learning_rate": 0.7}).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["dropout", "learning rate"]
    assert [bar.get_width() for bar in axes.patches] == [0.1, 0.7]


def test_the_timeline_has_a_bar_a_trial_in_its_workers_row():
    axes = timeline_figure(TRIALS).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["worker 0", "worker 1"]
    bars = [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in axes.patches]
    # 200 s are over three minutes, so the axis counts minutes
    np.testing.assert_allclose(bars, [(0, 0, 50 / 60), (1, 0, 80 / 60), (0, 1, 10 / 60), (1, 1.5, 110 / 60)])


def test_a_dimension_that_did_not_count_has_no_point():
    figure = slice_figure(TRIALS, DIMENSIONS, said="AUC", log=["learning_rate"], best=3)
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert panels["learning rate"].get_xscale() == "log"

    def points(name):
        return sum(len(one.get_offsets()) for one in panels[name].collections)

    # two complete and a pruned one, and the ring around the best; gamma counted in one of each
    assert (points("learning rate"), points("focal gamma")) == (4, 3)
    assert [text.get_text() for text in panels["loss"].get_xticklabels()] == ["bce", "focal"]


def test_the_best_line_is_drawn_last_from_the_lowest_to_the_highest():
    axes = parallel_figure(TRIALS, DIMENSIONS, said="AUC", higher_is_better=True, log=["learning_rate"]).axes[
        0
    ]
    best = axes.lines[-1] if axes.lines[-1].get_linewidth() > 2 else axes.lines[2]
    # 1e-2 is the highest of 1e-5 to 1e-2, focal the second of two losses, 3 the highest gamma, True the second
    assert best.get_ydata().tolist() == [1.0, 1.0, 1.0, 1.0]
    other = axes.lines[0]
    # 1e-4 is a third of the way by logarithm; no gamma with bce, so the line steps over it
    np.testing.assert_allclose(other.get_xdata(), [0, 1, 3])
    np.testing.assert_allclose(other.get_ydata(), [1 / 3, 0, 1])


@pytest.mark.parametrize("trials", [TRIALS.iloc[:0], TRIALS.iloc[2:3]])
def test_a_search_that_found_nothing_still_has_its_pictures(trials):
    for figure in (
        history_figure(trials, said="AUC", higher_is_better=True),
        importance_figure({}),
        timeline_figure(trials),
        slice_figure(trials, DIMENSIONS, said="AUC"),
        parallel_figure(trials, DIMENSIONS, said="AUC", higher_is_better=True),
    ):
        figure.canvas.draw()
