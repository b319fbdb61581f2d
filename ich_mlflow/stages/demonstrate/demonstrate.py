"""The demonstration models: networks that come with the package, head and all, packed and registered as any other."""

from dataclasses import replace
from pathlib import Path

from ich_mlflow.commands import serve_command
from ich_mlflow.ct.frame import IMAGE
from ich_mlflow.ct.window import parse_windows
from ich_mlflow.errors import ModelError
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.feature_distance import FeatureGaussian
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import backbone_of, build_classifier
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.weights import (
    FRAMING_NOTE,
    IMAGE_SIZE_NOTE,
    WITHOUT_PATIENTS,
    ShippedWeights,
    features_path,
    put_weights,
    read_weights,
    shipped_path,
    specification_name,
)
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import log_models
from ich_mlflow.stages.demonstrate.models import BACKBONE, DEMONSTRATIONS, Demonstration
from ich_mlflow.stages.demonstrate.options import DemonstrateOptions
from ich_mlflow.system.quiet import native_stderr_muted
from ich_mlflow.tracking.registry import KERAS_URI_TAG, MODEL_URI_TAG, describe_model, register
from ich_mlflow.tracking.run import NOTICE, start_run


def demonstrate(options: DemonstrateOptions) -> str:
    """Register a demonstration model of a class scheme; return its URI. It needs no data and no training."""
    scheme, demonstration = class_scheme(options.num_classes), DEMONSTRATIONS[options.name]
    paths = [shipped_path(name) for name in demonstration.files]
    members = [read_weights(path) for path in paths]
    told_by = paths[0].with_name(specification_name(BACKBONE, options.num_classes, options.name))
    packed = _read_specification(told_by)
    print(f"packing {len(members)} of the package's networks as a model: half a minute, or two for several")
    with start_run("demonstrate") as run:
        told = {"num_classes": options.num_classes, "weights": ", ".join(path.name for path in paths)}
        run.params(told, prefix="demonstrate")
        run.dictionary(members[0].about, "about.json")
        run.dictionary(packed.to_dict(), "serving.json")
        exam = make_exam(ExamOptions(seed=0, exam_rate=1.0, rows=256), 0)
        sample = exam.hu[:: max(1, len(exam.hu) // 6)][..., None]
        ancestry = members[0].ancestry or WITHOUT_PATIENTS["phantom"]
        name = f"{scheme.model_name}-{options.name}-demo"
        with native_stderr_muted():  # TensorFlow looks for a GPU, and LiteRT says what it runs on
            networks = [
                replace(
                    network_of(demonstration_model(one, scheme.labels), sample),
                    features=FeatureGaussian.read(features_path(file)),
                )
                for file, one in zip(demonstration.files, members, strict=True)
            ]
            keras_uri, serving_uri = log_models(networks, packed, ancestry, name=name)
        run.tags({MODEL_URI_TAG: serving_uri, KERAS_URI_TAG: keras_uri})
        version = register(
            serving_uri,
            model_name=name,
            tags={"ich.weights.start": "phantom", "ich.num_classes": options.num_classes},
            description=_description(demonstration, members[0], options.num_classes),
        )
        describe_model(name, "Made by demonstrate, to try the project without data or training. " + NOTICE)
        run.call(f"{name} v{version}")
    uri = f"models:/{name}/{version}"
    print(f"registered {uri}: it learned from {demonstration.learned_from}. {demonstration.caveat}")
    print(f"Serve it:  {serve_command(uri)}")
    return uri


def demonstration_model(weights: ShippedWeights, labels: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """The Keras classifier of those labels with the weights' backbone and head, for HU [B, 256, 256, 1]."""
    about = weights.about
    image_size = int(about[IMAGE_SIZE_NOTE])
    backbone = build_backbone(name=str(about["backbone"]), image_size=image_size)
    model = build_classifier(
        num_labels=len(labels),
        image_size=image_size,
        framing=str(about.get(FRAMING_NOTE, IMAGE)),
        windows=parse_windows(str(about.get("windows", "brain"))),
        backbone=backbone,
    )
    put_weights(backbone_of(model), weights.arrays)
    taught = tuple(about.get("labels", class_scheme(6).labels))
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


def _description(demonstration: Demonstration, weights: ShippedWeights, num_classes: int) -> str:
    about = weights.about
    measured = ""
    if "test/auc/macro" in about:
        measured = f" Mean AUC of six labels on unseen phantom patients {about['test/auc/macro']:.3f}."
    return (
        f"{NOTICE} Learned from {demonstration.learned_from}. {demonstration.caveat} "
        f"{BACKBONES[BACKBONE].title}, {num_classes} classes.{measured} See docs/weights.md."
    )
