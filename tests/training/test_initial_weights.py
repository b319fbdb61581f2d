import shutil

import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.errors import ModelError
from ich_mlflow.models import weights as weights_module
from ich_mlflow.models.ancestry import IMAGENET, Ancestry
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.layers import carry_ancestry
from ich_mlflow.models.weights import read_weights, shipped_path, write_weights
from ich_mlflow.stages.common.initial_weights import patients_to_learn_from
from ich_mlflow.training import initial_weights as weights
from ich_mlflow.training.initial_weights import initial_backbone

SIZE = 32


@pytest.fixture
def unreachable(monkeypatch):
    asked = []

    def get_file(name, url, **kwargs):
        asked.append(url)
        raise Exception(f"URL fetch failure on {url}: None -- no internet in this test")

    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", get_file)
    return asked


def test_auto_asks_for_the_file_that_keras_publishes(unreachable):
    initial_backbone("auto", image_size=SIZE)
    assert unreachable == ["https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5"]


@pytest.fixture(scope="module")
def weights_of_b0(tmp_path_factory):
    """A file of weights of B0, all 0.25."""
    backbone = build_backbone(image_size=SIZE)
    backbone.set_weights([np.full(weight.shape, 0.25, np.float32) for weight in backbone.get_weights()])
    path = tmp_path_factory.mktemp("weights") / "b0.npz"
    write_weights(path, backbone, {"start": "phantom"}, half=True)
    return path


@pytest.fixture
def phantom_weights(weights_of_b0, tmp_path, monkeypatch):
    """A folder of shipped weights with those of B0, all 0.25."""
    shutil.copy(weights_of_b0, tmp_path / "efficientnet-b0-phantom.npz")
    for place in (weights, weights_module):
        monkeypatch.setattr(place, "shipped_path", lambda name: tmp_path / f"{name}.npz")
    return tmp_path


def test_auto_starts_from_phantoms_where_imagenet_cannot_be_had_and_says_so(unreachable, phantom_weights):
    start = initial_backbone("auto", image_size=SIZE)
    assert start.name == "phantom"
    assert start.ancestry.said == "this project's phantoms (no patients)"
    assert "starts from this project's phantoms" in start.said
    assert "no internet" in start.said
    assert "\n" not in start.said
    assert all((weight == 0.25).all() for weight in start.backbone.get_weights())


def test_auto_starts_from_phantoms_for_few_patients_without_asking_for_imagenet(unreachable, phantom_weights):
    start = initial_backbone("auto", image_size=SIZE, patients=199)
    assert start.name == "phantom"
    assert "since 199 patients are fewer than 200; for others pass -P weights=imagenet" in start.said
    assert unreachable == []
    assert "no internet" in initial_backbone("auto", image_size=SIZE, patients=200).said
    (phantom_weights / "efficientnet-b0-phantom.npz").unlink()
    assert initial_backbone("auto", image_size=SIZE, patients=199).name == "random"


def test_auto_starts_at_random_where_there_are_neither(unreachable, phantom_weights):
    (phantom_weights / "efficientnet-b0-phantom.npz").unlink()
    start = initial_backbone("auto", image_size=SIZE)
    assert start.name == "random"
    assert start.ancestry.said == "nothing before"
    assert "starts at random" in start.said
    assert "no internet" in start.said
    with pytest.raises(ModelError, match="come with the package for no backbone, not for EfficientNet-B0"):
        initial_backbone("phantom", image_size=SIZE)


def _neighbours_of(kernel):
    return kernel[:, :, [0, 1, 2, 6, 7, 8]]


def test_phantom_weights_for_three_slices_are_those_of_the_slice_in_the_middle(phantom_weights):
    stem = initial_backbone("phantom", image_size=SIZE, num_slices=3).backbone.get_layer("stem_conv")
    kernel = stem.get_weights()[0]
    np.testing.assert_array_equal(kernel[:, :, 3:6], np.full((3, 3, 3, 32), 0.25))
    assert not _neighbours_of(kernel).any()


def test_imagenets_weights_for_three_slices_are_those_of_the_slice_in_the_middle():
    start = initial_backbone("imagenet", image_size=SIZE, name="efficientnet-lite0", num_slices=3)
    shipped = read_weights(shipped_path("efficientnet-lite0-imagenet")).arrays
    kernel = start.backbone.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel[:, :, 3:6], shipped["stem_conv/0"])
    assert not _neighbours_of(kernel).any()


def test_a_start_at_random_sees_the_neighbours_too(tiny_backbone):
    start = initial_backbone("random", image_size=SIZE, num_slices=3)
    assert _neighbours_of(start.backbone.get_layer("stem_conv").get_weights()[0]).all()


def test_phantom_weights_are_refused_for_a_backbone_that_has_none(phantom_weights):
    with pytest.raises(ModelError, match="for EfficientNet-B0, not for ConvNeXt-Tiny"):
        initial_backbone("phantom", image_size=SIZE, name="convnext-tiny")


def test_lite0_has_its_imagenet_weights_without_a_download(unreachable):
    for asked in ("auto", "imagenet"):
        start = initial_backbone(asked, image_size=SIZE, name="efficientnet-lite0")
        assert start.name == "imagenet"
        assert start.ancestry.said == "ImageNet (no patients)"
    assert unreachable == []
    shipped = read_weights(shipped_path("efficientnet-lite0-imagenet")).arrays
    stem = start.backbone.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(stem, shipped["stem_conv/0"])


def test_a_file_that_pretrain_wrote_is_a_start(phantom_weights):
    path = phantom_weights / "efficientnet-b0-phantom.npz"
    start = initial_backbone(str(path), image_size=SIZE)
    assert start.name == "file:efficientnet-b0-phantom.npz"
    assert (start.backbone.get_layer("stem_conv").get_weights()[0] == 0.25).all()
    with pytest.raises(ModelError, match="does not fit ConvNeXt-Tiny"):
        initial_backbone(str(path), image_size=SIZE, name="convnext-tiny")


def test_weights_of_b0_are_refused_for_lite0_whose_layers_are_among_b0s(tmp_path):
    path = tmp_path / "b0.npz"
    write_weights(path, build_backbone(image_size=SIZE), {"backbone": "efficientnet-b0"}, half=True)
    assert initial_backbone(str(path), image_size=SIZE).name == "file:b0.npz"
    with pytest.raises(
        ModelError, match="holds weights of efficientnet-b0: pass -P backbone=efficientnet-b0"
    ):
        initial_backbone(str(path), image_size=SIZE, name="efficientnet-lite0")


def test_a_missing_file_of_the_package_is_not_to_be_fetched_for_keras(phantom_weights):
    with pytest.raises(ModelError, match=r"^.*lite0-imagenet.npz is missing: install ich_mlflow again$"):
        initial_backbone("imagenet", image_size=SIZE, name="efficientnet-lite0")


def test_auto_takes_imagenet_where_keras_has_it(monkeypatch):
    asked = []

    def build(*, weights=None, **which):
        asked.append(weights)
        return build_backbone(**which)

    monkeypatch.setattr(weights, "build_backbone", build)
    assert initial_backbone("auto", image_size=SIZE).name == "imagenet"
    assert asked == ["imagenet"]


def test_imagenet_by_name_fails_where_it_cannot_be_had(unreachable):
    with pytest.raises(ModelError, match="weights=imagenet can't be had"):
        initial_backbone("imagenet", image_size=SIZE)


def test_a_classifiers_file_gives_its_backbone(tiny_backbone, tmp_path):
    keras.utils.set_random_seed(1)
    classifier = build_classifier(num_labels=5, image_size=SIZE, windows=parse_windows("brain"))
    classifier.save(tmp_path / "old.keras")
    start = initial_backbone(str(tmp_path / "old.keras"), image_size=SIZE)
    assert start.name == "file:old.keras"
    assert start.ancestry.unknown == ("file:old.keras",)
    for new, old in zip(start.backbone.get_weights(), classifier.layers[3].get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_classifiers_file_says_what_it_learned_from_and_may_go_by_its_models_name(tiny_backbone, tmp_path):
    classifier = build_classifier(num_labels=5, image_size=SIZE, windows=parse_windows("brain"))
    carry_ancestry(classifier, Ancestry((IMAGENET,)))
    classifier.save(tmp_path / "model.keras")
    start = initial_backbone(str(tmp_path / "model.keras"), image_size=SIZE, known_as="models:/ich-5class/3")
    assert start.ancestry.said == "ImageNet (no patients)"
    assert start.name == "models:/ich-5class/3"
    assert start.said == "weights: EfficientNet-B0 starts from models:/ich-5class/3"


def test_a_weights_file_gives_its_backbone(tiny_backbone, tmp_path):
    backbone = build_backbone(image_size=SIZE)
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    start = initial_backbone(str(tmp_path / "backbone.weights.h5"), image_size=SIZE)
    np.testing.assert_array_equal(start.backbone.get_weights()[5], backbone.get_weights()[5])
    assert start.ancestry.unknown == ("file:backbone.weights.h5",)


def test_a_missing_or_foreign_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        initial_backbone(str(tmp_path / "none.keras"), image_size=SIZE)
    (tmp_path / "text.weights.h5").write_text("not weights")
    with pytest.raises(ModelError, match="does not fit") as refusal:
        initial_backbone(str(tmp_path / "text.weights.h5"), image_size=SIZE)
    assert "\n" not in str(refusal.value)


def test_another_backbone_asks_for_its_own_file(monkeypatch):
    asked = []

    def get_file(name, url, **kwargs):
        asked.append(url.rsplit("/", 1)[1])
        raise Exception("no internet in this test")

    for module in ("efficientnet_v2", "convnext"):
        monkeypatch.setattr(f"keras.src.applications.{module}.file_utils.get_file", get_file)
    for name in ("efficientnetv2-b0", "convnext-tiny"):
        start = initial_backbone("auto", image_size=SIZE, name=name)
        assert start.name == "random"
    assert asked == [BACKBONES[name].file for name in ("efficientnetv2-b0", "convnext-tiny")]


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_weights_of_one_slice_start_a_backbone_with_context_as_that_slice(tiny_backbone, tmp_path, suffix):
    alone = build_backbone(image_size=SIZE)
    path = tmp_path / f"alone{suffix}"
    alone.save(path) if suffix == ".keras" else alone.save_weights(path)
    start = initial_backbone(str(path), image_size=SIZE, num_slices=3)
    nine = np.random.default_rng(0).uniform(0, 255, size=(2, SIZE, SIZE, 9)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(start.backbone(nine)), np.asarray(alone(nine[..., 3:6])), atol=1e-5)


def test_weights_of_a_classifier_with_context_start_another(tiny_backbone, tmp_path):
    classifier = build_classifier(num_labels=5, image_size=SIZE, windows=parse_windows("brain"), context=1)
    classifier.save(tmp_path / "context.keras")
    start = initial_backbone(str(tmp_path / "context.keras"), image_size=SIZE, num_slices=3)
    for new, old in zip(start.backbone.get_weights(), classifier.layers[3].get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    with pytest.raises(ModelError, match="does not fit"):  # three slices' weights do not fit one
        initial_backbone(str(tmp_path / "context.keras"), image_size=SIZE)


def test_patients_of_the_test_split_are_not_learned_from(stored_set):
    counted = stored_set.table.groupby("split")["patient_id"].nunique()
    assert patients_to_learn_from(stored_set) == counted["train"] + counted["validation"]
