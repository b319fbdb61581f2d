"""The demonstration models that come with the package, on phantoms that they have not seen."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.errors import OptionError
from ich_mlflow.labels import SUBTYPES, class_scheme
from ich_mlflow.models.slice_cnn.backbones import pretrainable
from ich_mlflow.models.weights import read_weights, shipped_path, specification_name
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.options import PRETRAINING_SEED
from ich_mlflow.stages.demonstrate.demonstrate import demonstrate, demonstration_model
from ich_mlflow.stages.demonstrate.models import BACKBONE, DEMONSTRATIONS
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
    assert classifier.ancestry.said == "this project's phantoms (no patients)"
    assert np.mean(list(aucs.values())) > 0.9, aucs


def test_without_a_word_the_model_that_learned_from_patients_is_registered(workspace, exams, capsys):
    uri = demonstrate(DemonstrateOptions())
    assert uri.startswith("models:/ich-5class-ctich-demo/")
    said = capsys.readouterr().out
    assert "learned from 50 patients of CT-ICH" in said
    assert "not for patients" in said
    classifier = load_classifier(uri)
    specification = classifier.specification
    assert (specification.members, len(classifier.members), specification.mirror) == (5, 5, True)
    # so that nobody evaluates it on those patients
    assert "50 patients of ctich" in classifier.ancestry.said
    series = exams[0]
    hu = np.stack([to_stored_size(one) for one in series.hu])
    read = classifier.predict_series(hu, 5.0 * np.arange(len(hu)))
    assert read.slices.shape == (len(hu), 5)
    assert np.isfinite(read.slices).all()


def test_four_classes_are_the_same_networks_without_epidural(exams):
    weights = read_weights(shipped_path(DEMONSTRATIONS["ctich"].files[0]))
    labels = class_scheme(4).labels
    hu = np.stack([to_stored_size(one) for one in exams[0].hu[::8]])[..., None].astype(np.float32)
    four, five = (
        np.asarray(demonstration_model(weights, class_scheme(number).labels)(hu)) for number in (4, 5)
    )
    places = [class_scheme(5).labels.index(label) for label in labels]
    np.testing.assert_allclose(four, five[:, places], atol=1e-6)


def test_what_does_not_come_is_refused():
    with pytest.raises(OptionError, match="learned_from is 'ctich', expected phantom with num_classes=6"):
        DemonstrateOptions(num_classes=6, learned_from="ctich")


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_every_demonstration_has_its_files(name):
    demonstration = DEMONSTRATIONS[name]
    for file in demonstration.files:
        weights = read_weights(shipped_path(file))
        assert weights.ancestry is not None
        assert all(np.isfinite(array).all() for array in weights.arrays.values())
    for num_classes in demonstration.num_classes:
        path = shipped_path(BACKBONE).with_name(specification_name(BACKBONE, num_classes, name))
        specification = Specification.read(path)
        assert json.loads(json.dumps(specification.to_dict())) == json.loads(path.read_text())
        assert specification.labels == class_scheme(num_classes).labels
        assert specification.members == len(demonstration.files)
        assert specification.trained_on.startswith(f"{name}, ")


def test_the_weights_from_patients_are_small():
    files = [shipped_path(file) for file in DEMONSTRATIONS["ctich"].files]
    assert 30e6 < sum(file.stat().st_size for file in files) < 45e6


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


@pytest.mark.parametrize(("learned_from", "layer"), [("ctich-0", "HeadResize"), ("phantom", "AreaResize")])
def test_a_network_sees_the_square_around_the_head_where_its_weights_say_so(learned_from, layer):
    weights = read_weights(shipped_path(f"efficientnet-b0-{learned_from}"))
    model = demonstration_model(weights, class_scheme(4).labels)
    assert type(model.get_layer("resize")).__name__ == layer
