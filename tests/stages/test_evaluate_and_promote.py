import mlflow
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ich_mlflow.errors import ModelError
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.names import MODEL_NAMES
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.tracking.registry import CHAMPION, alias_version


def test_without_a_champion_evaluate_says_what_to_do(workspace):
    if all(alias_version(name, CHAMPION) is None for name in MODEL_NAMES):
        with pytest.raises(ModelError, match="-e promote"):
            evaluate(EvaluateOptions())


def test_evaluate_scores_the_test_split_on_a_run_linked_to_the_model(trained, stored_set):
    results = evaluate(EvaluateOptions(model=trained.serving_uri, resamples=100, heat_maps=0))
    run = mlflow.search_runs(
        ["1"], filter_string="tags.`ich.stage` = 'evaluate'", max_results=1, output_format="list"
    )[0]
    assert run.data.tags["ich.trained_run"] == trained.run_id
    rows = stored_set.rows("test")
    probabilities = score_rows(load_classifier(trained.serving_uri), stored_set, rows).slices
    expected = roc_auc_score(stored_set.subtypes[rows][:, 1], probabilities[:, 1])
    assert run.data.metrics["test/auc/intraparenchymal"] == pytest.approx(expected)
    assert results.slices.metrics.per_label[1].num_positive_slices == stored_set.subtypes[rows][:, 1].sum()
    assert run.inputs.dataset_inputs[0].dataset.digest == stored_set.digest[:36]


def test_scoring_in_batches_gives_every_row_its_own_answer(trained, stored_set):
    rows = np.array([5, 0, 5])
    probabilities = score_rows(load_classifier(trained.serving_uri), stored_set, rows).slices
    np.testing.assert_array_equal(probabilities[0], probabilities[2])


@pytest.mark.parametrize("uri", ["models:/nobody@champion", "runs:/0123/serving", "somewhere"])
def test_a_model_that_is_not_there_is_one_line(workspace, uri):
    with pytest.raises(ModelError, match="not to be found") as refusal:
        evaluate(EvaluateOptions(model=uri))
    assert "\n" not in str(refusal.value)
