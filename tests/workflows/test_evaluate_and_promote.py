import mlflow
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ich_mlflow.errors import ModelError, PromotionError
from ich_mlflow.options import EvaluateOptions, PromoteOptions
from ich_mlflow.serving.package import load_classifier
from ich_mlflow.tracking.registry import champion_version
from ich_mlflow.workflows.evaluate import evaluate
from ich_mlflow.workflows.promote import promote
from ich_mlflow.workflows.scoring import score_rows


def test_without_a_champion_evaluate_says_what_to_do(workspace):
    if champion_version("ich-5class") is None:
        with pytest.raises(ModelError, match="-e promote"):
            evaluate(EvaluateOptions())


def test_evaluate_scores_the_test_split_on_a_run_linked_to_the_model(trained, stored_set):
    results = evaluate(EvaluateOptions(model=trained.serving_uri, resamples=100, heat_maps=0))
    run = mlflow.search_runs(
        ["1"], filter_string="tags.`ich.stage` = 'evaluate'", max_results=1, output_format="list"
    )[0]
    assert run.data.tags["ich.trained_run"] == trained.run_id
    rows = stored_set.rows("test")
    probabilities = score_rows(load_classifier(trained.serving_uri), stored_set, rows)
    expected = roc_auc_score(stored_set.subtypes[rows][:, 1], probabilities[:, 1])
    assert run.data.metrics["test/auc/intraparenchymal"] == pytest.approx(expected)
    assert results.slices.metrics.per_label[1].num_positive_slices == stored_set.subtypes[rows][:, 1].sum()
    assert run.inputs.dataset_inputs[0].dataset.digest == stored_set.digest[:36]


def test_scoring_in_batches_gives_every_row_its_own_answer(trained, stored_set):
    rows = np.array([5, 0, 5])
    probabilities = score_rows(load_classifier(trained.serving_uri), stored_set, rows)
    np.testing.assert_array_equal(probabilities[0], probabilities[2])


@pytest.mark.parametrize("uri", ["models:/nobody@champion", "runs:/0123/serving", "somewhere"])
def test_a_model_that_is_not_there_is_one_line(workspace, uri):
    with pytest.raises(ModelError, match="not to be found") as refusal:
        evaluate(EvaluateOptions(model=uri))
    assert "\n" not in str(refusal.value)


def test_promote_needs_a_finished_run_of_that_class_scheme(workspace):
    with pytest.raises(PromotionError, match="no finished training run with num_classes=6"):
        promote(PromoteOptions(num_classes=6))
    with pytest.raises(PromotionError, match="not in"):
        promote(PromoteOptions(run="0123"))


def test_the_best_run_becomes_champion_once_and_a_worse_one_does_not(trained):
    best = mlflow.search_runs(  # other tests may have trained in this workspace too
        search_all_experiments=True,
        filter_string="attributes.status = 'FINISHED' AND tags.`ich.stage` = 'train' AND params.`hp.num_classes` = '5'",
        order_by=["metrics.`val/auc/macro` DESC"],
        output_format="list",
    )[0].info.run_id
    assert promote(PromoteOptions(num_classes=5)).promote
    version = champion_version("ich-5class")
    model = mlflow.MlflowClient().get_model_version_by_alias("ich-5class", "champion")
    assert model.tags["ich.run_id"] == best
    assert "not a medical device" in model.description
    again = promote(PromoteOptions(num_classes=5))
    assert not again.promote
    assert "is the champion of ich-5class already" in again.reasons[0]
    worse = _training_run(num_classes=5, auc=0.001)
    refused = promote(PromoteOptions(num_classes=5, run=worse))
    assert not refused.promote
    assert "0.0010" in refused.reasons[0]
    assert champion_version("ich-5class") == version
    assert load_classifier("models:/ich-5class@champion").specification.run_id == best


def test_a_run_of_another_class_scheme_is_refused(trained):
    refused = promote(PromoteOptions(num_classes=5, run=_training_run(num_classes=4, auc=0.99)))
    assert not refused.promote
    assert "4 classes" in refused.reasons[0]


def test_a_champion_that_promote_did_not_register_is_refused_in_one_line(workspace):
    client = mlflow.MlflowClient()
    client.create_registered_model("ich-6class")
    version = client.create_model_version("ich-6class", source=str(workspace / "elsewhere"))
    client.set_registered_model_alias("ich-6class", "champion", version.version)
    with pytest.raises(PromotionError, match="was not registered by promote") as refusal:
        promote(PromoteOptions(num_classes=6, run=_training_run(num_classes=6, auc=0.9)))
    assert "\n" not in str(refusal.value)


def _training_run(*, num_classes, auc):
    """A finished train run that has figures but no model."""
    with mlflow.start_run() as run:
        mlflow.set_tag("ich.stage", "train")
        mlflow.log_params({"hp.num_classes": num_classes, "data.digest": "0" * 64})
        mlflow.log_metric("val/auc/macro", auc)
    return run.info.run_id
