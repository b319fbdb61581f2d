"""The family of the page, in a copy of the package: through every stage, as a user has it."""

import json
import math

import pytest

from tests.adding.page import python, walked

CODE = """
import base64, contextlib, json, os, sys
from pathlib import Path
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path('mlflow.db').resolve()}"
import mlflow
import numpy as np
import pandas as pd
from ich_mlflow.models.hu_bands.reader import shares
from ich_mlflow.phantom.studies import StudySetOptions, write_study_set
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.evaluate import evaluate as evaluate_module
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.predict.options import PredictOptions
from ich_mlflow.stages.predict.predict import predict
from ich_mlflow.stages.promote import examination
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.stages.promote.promote import promote_candidate
from ich_mlflow.stages import reference
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train

DATA = %r
NAME = "ich-5class"
# Pictures of figures of merit, which know no family, and a whole phantom for one file take most of the time.
evaluate_module.log_figures = lambda *told: None
examination.phantom_dicom = lambda: next(Path("studies").rglob("*.dcm")).read_bytes()

def artifact(run_id, path):
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{path}")

def artifacts(run_id, folder=""):
    return [one.path for one in mlflow.MlflowClient().list_artifacts(run_id, folder)]

def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

def refused(ask):
    try:
        ask()
    except Exception as error:
        return str(error)

told = {
    "page": reference.page(),
    "others": [
        refused(lambda said=said: TrainOptions(family=family, **said))
        for family, said in (("hu_bands", {"head": "two_stage"}), ("slice_cnn", {"bands": "5"}))
    ],
}
with contextlib.redirect_stdout(sys.stderr):
    write_study_set(Path("studies"), StudySetOptions(studies=2, rows=128, others=False))
    trained = train(TrainOptions(
        family="hu_bands", data=DATA, epochs="3", batch_size="8", series_smoothing="10mm", mirror=True
    ))
    run = mlflow.get_run(trained.run_id).data
    told["trained"] = {
        "params": run.params, "metrics": run.metrics, "pictures": artifacts(trained.run_id, "figures"),
    }
    told["losses"] = [
        one.value for one in mlflow.MlflowClient().get_metric_history(trained.run_id, "epoch/loss")
    ]
    keras_model = mlflow.keras.load_model(trained.keras_uri)
    kernel, bias = keras_model.get_layer("layer").get_weights()

    evaluated = evaluate_module.evaluate(EvaluateOptions(model=trained.serving_uri, resamples=100))
    told["evaluated"] = {
        "metrics": mlflow.get_run(evaluated.run_id).data.metrics,
        "pictures": artifacts(evaluated.run_id, "figures"),
        "report": artifact(evaluated.run_id, "report.html"),
        "card": artifact(evaluated.run_id, "model_card.md"),
    }
    decision = promote_candidate(PromoteOptions(run=trained.run_id, smoke=False, resamples=100), evaluated=evaluated)
    told["gates"] = {gate.name: gate.passed for gate in decision.gates}

    out = predict(PredictOptions(
        input="studies", model=f"{NAME}/1", out="predicted", operating_point="sensitivity_95", workers=1, pictures=2,
    ))
    told["predicted"] = {
        "files": files(out), "page": (out / "worklist.html").read_text(),
        "worklist": pd.read_csv(out / "worklist.csv").to_dict("list"),
    }
    rows = pd.read_csv(out / "predictions.csv")
    exam = rows[rows["level"] == "exam"].iloc[0]
    slices = rows[(rows["level"] == "slice") & (rows["study_uid"] == exam["study_uid"])]
    told["exam"] = {"predicted": exam["probability_any"], "slices": len(slices)}
    told["slices"] = {"predicted": slices["score_subdural"].tolist()}

    served = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    frame = pd.DataFrame({"dicom": [
        base64.b64encode(Path("studies", name).read_bytes()).decode() for name in slices["file"]
    ]})
    told["slices"]["served"] = served.predict(frame)["score_subdural"].tolist()
    (answer,) = served.predict(frame, params={"aggregate": "exam"}).to_dict("records")
    told["exam"]["served"] = answer["probability_any"]
    told["one"] = served.predict(frame[:1]).iloc[0].to_dict()
    told["explain"] = refused(lambda: served.predict(frame[:1], params={"explain": True}))

    # Half of the slice is air; of the head's 32,768 pixels a quarter has 55 HU, the rest 10.
    hu = np.full((1, 256, 256), -1000, np.int16)
    hu[:, :128], hu[:, :32] = 10, 55
    classifier = load_classifier(f"models:/{NAME}/1")
    told["by_hand"] = {
        "shares": shares(hu, 5)[0].tolist(), "said": classifier.uncalibrated(hu)[0].tolist(),
        "kernel": kernel.tolist(), "bias": bias.tolist(), "folder": str(classifier.folder),
    }
print(json.dumps(told))
"""
# What a serving machine does, which has no Keras.
SERVING = """
import sys
from pathlib import Path
from ich_mlflow.serving.classifier import Classifier
classifier = Classifier(Path(%r))
print(classifier.can_explain, type(classifier.members[0]).__name__, sorted({"keras", "tensorflow"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return walked("family.md", tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module")
def told(copy, stored_set):
    return json.loads(python(copy, CODE % str(stored_set.path)))


def test_the_family_of_the_page_is_trained_by_the_projects_loop(told):
    trained = told["trained"]
    assert trained["params"]["hp.family"] == "hu_bands"
    assert trained["params"]["hp.recipe"] == "hu-bands"
    assert trained["params"]["hp.bands"] == "5"
    assert told["losses"] == sorted(told["losses"], reverse=True)
    assert len(told["losses"]) == 3
    assert "val/auc/macro" in trained["metrics"]
    assert "figures/augmented.png" not in trained["pictures"]


def test_its_hyperparameters_are_flags_and_of_no_other_family(told):
    assert "bands between 40 and 90 HU" in told["page"]
    of_slices, of_bands = told["others"]
    assert of_slices.startswith("head is 'two_stage', but family hu_bands has no such hyperparameter")
    assert of_bands.startswith("bands is '5', but family slice_cnn has no such hyperparameter")


def test_what_is_served_is_the_layer_on_shares_that_are_worked_out_by_hand(told):
    # bands of 10 HU from 40: 55 HU is in the second, and a quarter of the head has it
    found = told["by_hand"]
    assert found["shares"] == [0, 0.25, 0, 0, 0]
    for label in range(5):
        logit = 0.25 * found["kernel"][1][label] + found["bias"][label]
        assert found["said"][label] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)


def test_its_reader_needs_no_keras(copy, told):
    assert python(copy, SERVING % told["by_hand"]["folder"]) == "False BandReader []\n"


def test_it_is_evaluated_without_heat_maps_and_report_and_card_call_it_what_it_is(told):
    evaluated = told["evaluated"]
    assert "test/auc/macro" in evaluated["metrics"]
    assert "figures/test_heat_maps.png" not in evaluated["pictures"]
    text = "one layer on the shares of a slice&#39;s pixels in bands of Hounsfield units"
    assert f"The model&#39;s family is hu_bands: {text}." in evaluated["report"]
    assert "Where the network looked" not in evaluated["report"]
    assert "backbone" not in evaluated["report"]
    assert "- family: hu_bands, one layer on the shares of a slice's pixels" in evaluated["card"]
    assert "- initial weights: none\n" in evaluated["card"]
    assert "backbone" not in evaluated["card"]


def test_promotion_examines_it_as_any_candidate(told):
    assert told["gates"]["data"]
    assert told["gates"]["signature"]
    assert not told["gates"]["null models"]  # slices of one value each, of 18 patients, teach nothing


def test_the_server_answers_with_slices_and_exams_as_predict_does(told):
    assert told["exam"]["slices"] == len(told["slices"]["served"]) > 1
    assert told["slices"]["served"] == pytest.approx(told["slices"]["predicted"], abs=1e-6)
    assert told["exam"]["served"] == pytest.approx(told["exam"]["predicted"], abs=1e-6)
    assert (told["one"]["model_name"], told["one"]["model_version"]) == ("ich-5class", "1")


def test_the_server_refuses_to_explain_in_a_line(told):
    assert told["explain"] == "this model has no heat maps, expected explain=false"


def test_predict_shows_slices_as_they_are(told):
    predicted = told["predicted"]
    assert predicted["worklist"]["status"].count("flagged") >= 1
    assert predicted["page"].count("data:image/jpeg;base64,") >= 1
    assert "heat map" not in predicted["page"].lower()
    made = [name for name in predicted["files"] if name.startswith("dicom")]
    assert made == [f"dicom/study-000{number}/findings.dcm" for number in (1, 2)]
