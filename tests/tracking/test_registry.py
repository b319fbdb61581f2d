import mlflow
import pytest

from ich_mlflow.errors import ModelError, OptionError, PromotionError
from ich_mlflow.tracking.registry import best_training_run, expect_run, run_of_model


@pytest.fixture
def train_run(workspace):
    """A finished training run of 6 classes with two metrics, deleted at the end."""
    with mlflow.start_run(tags={"ich.stage": "train"}) as run:
        mlflow.log_param("hp.num_classes", "6")
        mlflow.log_metrics({"val/auc/macro": 0.5, "val/loss": 0.7})
    yield run.info.run_id
    mlflow.delete_run(run.info.run_id)


def test_a_metric_that_no_run_has_is_the_reason_and_its_nearest_is_named(train_run):
    assert best_training_run(num_classes=6, metric="val/auc/macro").run_id == train_run
    with pytest.raises(PromotionError) as refusal:
        best_training_run(num_classes=6, metric="val/auc/marco")
    said = str(refusal.value)
    assert said.startswith(
        "metric is 'val/auc/marco', and none of the 1 finished training runs with num_classes=6"
    )
    assert said.endswith("(did you mean val/auc/macro?)")
    with pytest.raises(PromotionError, match=r"no finished training run with num_classes=6.*rolled back"):
        best_training_run(num_classes=6, metric="val/auc/macro", but=[train_run])


def test_a_run_that_is_elsewhere_is_told_with_where_it_was_looked_for(workspace):
    with pytest.raises(OptionError, match=r"run 0{32} is not in sqlite:.*set MLFLOW_TRACKING_URI"):
        expect_run("0" * 32, OptionError)


@pytest.fixture
def registered(workspace):
    client = mlflow.MlflowClient()
    client.create_registered_model("ich-near")
    client.create_registered_model("ich-near.lock")
    client.create_model_version("ich-near", source=str(workspace))
    client.set_registered_model_alias("ich-near", "champion", "1")
    yield
    for name in ("ich-near", "ich-near.lock"):
        client.delete_registered_model(name)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("models:/ich-naer/1", "ich-near?"),
        ("models:/ich-near@chamion", "ich-near@champion or ich-near/1?"),
        ("models:/ich-near/7", "ich-near/1?"),
    ],
)
def test_a_model_that_is_nearly_right_is_told(registered, typed, meant):
    with pytest.raises(ModelError) as refusal:
        run_of_model(typed)
    assert str(refusal.value).endswith(f" (did you mean {meant})")


def test_a_model_like_no_other_is_told_as_it_was(registered):
    with pytest.raises(ModelError) as refusal:
        run_of_model("models:/zzz/1")
    assert "did you mean" not in str(refusal.value)
