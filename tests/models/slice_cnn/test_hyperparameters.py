import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.models.recipes import RECIPES, resolve
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters


def test_the_reference_models_are_what_the_mission_says():
    one, two, three = (RECIPES[f"model-{number}"] for number in (1, 2, 3))
    for model in (one, two, three):
        assert (model.image_size, model.dense_units, model.dropout) == (224, 128, 0.3)
        assert (model.learning_rate, model.epochs, model.windows) == (1e-4, 10, "brain")
    assert (one.num_classes, one.sampling) == (5, "natural")
    assert (two.num_classes, two.sampling) == (5, "class_balanced")
    assert three.num_classes == 4


def test_an_override_stands_over_the_recipe():
    assert resolve("model-1", {"dropout": 0.5}).dropout == 0.5


def test_an_override_may_repeat_but_not_contradict_what_makes_a_recipe():
    assert resolve("model-3", {"num_classes": 4}).num_classes == 4
    with pytest.raises(OptionError, match="recipe=model-3 means num_classes=4"):
        resolve("model-3", {"num_classes": 5})


def test_the_reference_models_are_trained_plainly():
    for number in (1, 2, 3):
        model = RECIPES[f"model-{number}"]
        assert (model.loss, model.label_smoothing, model.prior_bias) == ("bce", 0.0, False)
        assert (model.schedule, model.clip_norm) == ("constant", 0.0)


def test_rsnas_log_loss_goes_with_six_classes():
    assert resolve("reference", {"loss": "log_loss_rsna", "num_classes": 6}).loss == "log_loss_rsna"


def test_an_unknown_recipe_is_refused():
    with pytest.raises(OptionError, match="model-9"):
        resolve("model-9", {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_classes", 3),
        ("image_size", 513),
        ("windows", "liver"),
        ("windows", "brain,bone"),
        ("epochs", 0),
        ("patience", 0),
        ("monitor", "loss"),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("dropout", 1.0),
        ("schedule", "linear"),
        ("clip_norm", -1.0),
        ("weight_decay", 1.0),
        ("weight_decay", float("nan")),
        ("focal_gamma", 11.0),
        ("focal_gamma", 0.5),
        ("focal_gamma", 1.0),  # bce has none
        ("loss", "hinge"),
        ("loss", "log_loss_rsna"),  # 5 classes have no `any`
        ("label_smoothing", 1.0),
        ("batch_norm_momentum", 1.0),
        ("dense_units", 0),
        ("sampling", "balanced"),
        ("rotation_degrees", 181.0),
        ("shift", 0.5),
        ("zoom", -0.1),
        ("windows", "nan/80"),
        ("windows", "40/inf"),
        ("frozen_augment", True),  # there are no frozen epochs
        ("frozen_learning_rate", 0.01),
    ],
)
def test_what_is_out_of_range_is_refused_with_its_value(name, value):
    with pytest.raises(OptionError, match=str(value).lower().split("/")[-1 if "inf" in str(value) else 0]):
        Hyperparameters(**{name: value})


def test_two_stages_go_with_six_classes_and_bring_their_own_loss():
    setting = resolve("reference", {"head": "two_stage", "num_classes": 6, "prior_bias": True})
    assert (setting.head, setting.loss) == ("two_stage", "bce")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"num_classes": 5},
            "head is 'two_stage', expected with num_classes=6, which has `any`, or head=flat",
        ),
        ({"loss": "focal"}, "loss is 'focal', expected with head=flat, or bce: pass -P loss=…"),
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1, expected with head=flat, or 0: pass -P"),
        ({"focal_gamma": 3.0}, "focal_gamma is 3.0, expected with loss=focal"),
        ({"head": "three_stage"}, "head is 'three_stage', expected flat or two_stage"),
    ],
)
def test_what_does_not_go_with_two_stages_is_refused_in_one_line(changed, said):
    with pytest.raises(OptionError, match=said) as refusal:
        Hyperparameters(**{"num_classes": 6, "head": "two_stage", **changed})
    assert "\n" not in str(refusal.value)
