"""The demonstration models that come with the package, on phantoms that they have not seen."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.labels import SUBTYPES, class_scheme
from ich_mlflow.models.slice_cnn.backbones import pretrainable
from ich_mlflow.models.weights import read_weights, shipped_path, specification_name
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.options import PRETRAINING_SEED
from ich_mlflow.stages.demonstrate.demonstrate import BACKBONE, demonstrate
from ich_mlflow.stages.demonstrate.options import DemonstrateOptions


@pytest.fixture(scope="module")
def exams():
    """Three exams of 256 rows, every subtype often."""
    return [make_exam(ExamOptions(seed=11, exam_rate=0.5, rows=256), number) for number in range(3)]


def test_the_demonstration_model_finds_the_blood_of_unseen_phantoms(workspace, exams):
    classifier = load_classifier(demonstrate(DemonstrateOptions(num_classes=6)))
    hu = np.stack([to_stored_size(one) for exam in exams for one in exam.hu])
    truth = class_scheme(6).targets(np.concatenate([exam.subtypes for exam in exams]))
    said = classifier.probabilities(hu)
    labels = class_scheme(6).labels
    estimable = [number for number in range(len(labels)) if 0 < truth[:, number].sum() < len(truth)]
    aucs = {labels[number]: roc_auc_score(truth[:, number], said[:, number]) for number in estimable}
    assert aucs["any"] > 0.9
    assert np.mean(list(aucs.values())) > 0.9, aucs


def test_every_class_scheme_has_its_specification():
    folder = shipped_path(f"{BACKBONE}-phantom").parent
    for num_classes in (4, 5, 6):
        path = folder / specification_name(BACKBONE, num_classes)
        specification = Specification.read(path)
        # the keys are public: floors and exam_floor stay, whatever null models are called in code
        assert json.loads(json.dumps(specification.to_dict())) == json.loads(path.read_text())
        assert specification.labels == class_scheme(num_classes).labels
        assert specification.trained_on.startswith("phantom, ")


@pytest.mark.parametrize("backbone", pretrainable())
def test_the_phantom_weights_say_how_they_were_made(backbone):
    path = shipped_path(f"{backbone}-phantom")
    if not path.exists():
        pytest.skip(f"no phantom weights for {backbone} come with this version")
    weights = read_weights(path)
    assert weights.about["seed"] == PRETRAINING_SEED
    assert weights.about["backbone"] == backbone
    assert weights.about["test/auc/macro"] > 0.95
    assert {f"test/auc/{label}" for label in SUBTYPES} <= set(weights.about)
    assert all(np.isfinite(array).all() for array in weights.arrays.values())


def test_the_phantom_weights_are_small():
    files = [shipped_path(f"{backbone}-phantom") for backbone in pretrainable()]
    assert 1e6 < sum(file.stat().st_size for file in files if file.exists()) < 20e6
