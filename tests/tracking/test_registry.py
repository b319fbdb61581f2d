import mlflow
import pytest

from ich_mlflow.errors import ModelError, OptionError
from ich_mlflow.tracking import registry
from ich_mlflow.tracking.registry import expect_run, finished_trainings, run_of_model


@pytest.fixture
def train_runs(workspace):
    """A finished training run of 6 classes, a second one, and one that failed; deleted at the end."""
    made = []
    for number, status in enumerate(("FINISHED", "FINISHED", "FAILED")):
        run = mlflow.start_run(tags={"ich.stage": "train"})
        mlflow.log_param("hp.num_classes", "6")
        mlflow.log_metric("val/auc/macro", number / 10)
        mlflow.end_run(status)
        made.append(run.info.run_id)
    yield made
    for run_id in made:
        mlflow.delete_run(run_id)


def test_the_finished_trainings_of_a_class_scheme_come_page_by_page_the_newest_first(train_runs, monkeypatch):
    monkeypatch.setattr(registry, "_PAGE", 1)
    found = [run for run in finished_trainings(6) if run.run_id in train_runs]
    assert [run.run_id for run in found] == train_runs[1::-1]
    assert [run.metrics["val/auc/macro"] for run in found] == [0.1, 0.0]


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
