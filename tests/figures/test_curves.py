import numpy as np
import pandas as pd
import pytest

from ich_mlflow.figures.curves import training_curves


def history(**changed):
    columns = {
        "epoch": [1, 2, 3],
        "loss": [0.5, 0.4, 0.3],
        "val_loss": [0.6, 0.4, 0.5],
        "val_loss_uncalibrated": [0.7, 0.6, 0.9],
        "val/auc/epidural": [np.nan, np.nan, np.nan],
        "val/auc/subdural": [0.6, 0.9, 0.8],
        "val/auc/macro": [0.6, 0.7, 0.9],
    }
    return pd.DataFrame(columns | changed)


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_loss_is_left_and_auc_right():
    loss, auc = training_curves(history()).axes
    assert legend_of(loss) == [
        "train",
        "validation, recalibrated",
        "validation, not recalibrated",
        "best epoch (3)",
    ]
    assert loss.get_ylim() == pytest.approx((0, 1.08 * 0.9))
    assert legend_of(auc) == ["epidural (not estimable)", "subdural", "macro", "best epoch (3)"]


def test_without_a_macro_auc_the_best_epoch_has_the_lowest_validation_loss():
    loss, _ = training_curves(history(**{"val/auc/macro": [np.nan] * 3})).axes
    assert "best epoch (2)" in legend_of(loss)


def test_the_best_epoch_can_be_told():
    assert "best epoch (1)" in legend_of(training_curves(history(), best_epoch=1).axes[0])


def test_an_auc_below_chance_is_seen():
    _, auc = training_curves(history(**{"val/auc/subdural": [0.2, 0.6, 0.7]})).axes
    assert auc.get_ylim()[0] < 0.2


def test_one_epoch_without_validation_can_be_saved(tmp_path):
    figure = training_curves(pd.DataFrame({"epoch": [0], "loss": [0.7]}), note="phantoms")
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("bad", [history().iloc[:0], history().drop(columns="loss")])
def test_refuses_a_history_without_epochs_or_loss(bad):
    with pytest.raises(ValueError, match="at least epoch and loss"):
        training_curves(bad)
