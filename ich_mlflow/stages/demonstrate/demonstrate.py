"""The demonstration models: the network that pretraining taught, head and all, packed and registered as any other."""

from pathlib import Path

from ich_mlflow.commands import serve_command
from ich_mlflow.ct.window import BRAIN
from ich_mlflow.errors import ModelError
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import backbone_of, build_classifier
from ich_mlflow.models.weights import (
    IMAGE_SIZE_NOTE,
    ShippedWeights,
    put_weights,
    read_weights,
    shipped_path,
    specification_name,
)
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import log_models
from ich_mlflow.stages.demonstrate.options import DemonstrateOptions
from ich_mlflow.tracking.registry import register
from ich_mlflow.tracking.run import NOTICE, start_run

BACKBONE = "efficientnet-b0"


def demonstrate(options: DemonstrateOptions) -> str:
    """Register the demonstration model of a class scheme; return its URI. It needs no data and no training."""
    scheme = class_scheme(options.num_classes)
    weights_path = shipped_path(f"{BACKBONE}-phantom")
    weights = read_weights(weights_path)
    packed = _read_specification(weights_path.with_name(specification_name(BACKBONE, options.num_classes)))
    with start_run("demonstrate") as run:
        run.params({"num_classes": options.num_classes, "weights": weights_path.name}, prefix="demonstrate")
        run.dictionary(weights.about, "about.json")
        run.dictionary(packed.to_dict(), "serving.json")
        model = demonstration_model(weights, scheme.labels)
        exam = make_exam(ExamOptions(seed=0, exam_rate=1.0, rows=256), 0)
        sample = exam.hu[:: max(1, len(exam.hu) // 6)][..., None]
        _, serving_uri = log_models(model, packed, sample_hu=sample)
        name = f"{scheme.model_name}-phantom-demo"
        version = register(
            serving_uri,
            model_name=name,
            tags={"ich.weights.start": "phantom", "ich.num_classes": options.num_classes},
            description=_description(weights, options.num_classes),
        )
    uri = f"models:/{name}/{version}"
    print(f"registered {uri}: trained on phantoms, not for patients\nServe it:  {serve_command(uri)}")
    return uri


def demonstration_model(weights: ShippedWeights, labels: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """The Keras classifier of those labels with the weights' backbone and head, for HU [B, 256, 256, 1]."""
    image_size = int(weights.about[IMAGE_SIZE_NOTE])
    backbone = build_backbone(name=str(weights.about["backbone"]), image_size=image_size)
    model = build_classifier(
        num_labels=len(labels), image_size=image_size, windows=(BRAIN,), backbone=backbone
    )
    put_weights(backbone_of(model), weights.arrays)
    taught = class_scheme(6).labels
    places = [taught.index(label) for label in labels]
    kernel, bias = (weights.arrays[f"probabilities/{number}"] for number in range(2))
    model.get_layer("dense").set_weights([weights.arrays[f"dense/{number}"] for number in range(2)])
    model.get_layer("probabilities").set_weights([kernel[:, places], bias[places]])
    return model


def _read_specification(path: Path) -> Specification:
    try:
        return Specification.read(path)
    except OSError:
        raise ModelError(f"{path} is missing: install ich_mlflow again") from None


def _description(weights: ShippedWeights, num_classes: int) -> str:
    about = weights.about
    return (
        f"{NOTICE} Trained on phantoms that this project made ({about['exams']} exams), not on patients and not for "
        f"them. {BACKBONES[BACKBONE].title}, {num_classes} classes; mean AUC of six labels on unseen phantom patients "
        f"{about['test/auc/macro']:.3f}. See docs/weights.md."
    )
