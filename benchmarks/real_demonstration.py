"""The demonstration model that learned from real CT: the ladder's five networks, as files that come with the package.

    python benchmarks/ladder.py --data data/ctich
    python benchmarks/real_demonstration.py --data data/ctich
    python benchmarks/real_demonstration.py --data data/ctich --again --smoothing 15mm

Writes ich_mlflow_weights/efficientnet-b0-ctich-<fold>.npz, kernels in half precision, and beside them what a model of
4 and of 5 classes is packed with: calibration, operating points, smoothing, aggregation and abstention, chosen on what
each network says of the patients that it has not learned from, averaged with the mirror image; and of each network the
Gaussian of its features. Prints what that scores, which
flatters where it chose, and how far half precision moves what is said. --again: of the networks that are shipped, each
asked of the patients of the fold that it left out; they stay as they are. --smoothing: not chosen here but said.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import mlflow
import numpy as np

from benchmarks.generalisation import false_alarms_of
from benchmarks.ladder import SCHEME, fold_file, fold_set, said_by
from ich_mlflow.dataset.split import VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.calibration_fit import AUTO
from ich_mlflow.evaluation.operating_point import MAX_F1
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.logits import mean_of_logits
from ich_mlflow.models.slice_cnn.classifier import backbone_of
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.weights import (
    FRAMING_NOTE,
    IMAGE_SIZE_NOTE,
    features_path,
    read_weights,
    shipped_path,
    specification_name,
    write_weights,
)
from ich_mlflow.serving.packaging import keras_file, load_classifier
from ich_mlflow.stages.common.specification import from_validation
from ich_mlflow.stages.demonstrate.demonstrate import demonstration_model
from ich_mlflow.stages.demonstrate.models import BACKBONE, CT_ICH
from ich_mlflow.stages.train.feature_distances import validation_distances, with_gaussians
from ich_mlflow.tracking.registry import full_model_uri


def write_network(run_id: str, fold: int, stored: StoredSet) -> float:
    """Write the network of a fold; return how far half precision moves what it says of a few slices."""
    uri = full_model_uri(f"runs:/{run_id}/serving")
    model = keras.models.load_model(keras_file(uri), compile=False)
    used = mlflow.get_run(run_id).data.params
    about = {
        "backbone": BACKBONE,
        IMAGE_SIZE_NOTE: int(used["hp.image_size"]),
        FRAMING_NOTE: used["hp.framing"],
        "windows": used["hp.windows"],
        "labels": SCHEME.labels,
        "made_by": "benchmarks/ladder.py, benchmarks/real_demonstration.py",
        "left_out_fold": fold,
        "data": "CT-ICH (Hssayeni et al., Data 2020, 5(1), 14), 50 patients, CC BY 4.0",
        "data_digest": stored.digest,
    }
    layers = [*backbone_of(model).layers, model.get_layer("dense"), model.get_layer("probabilities")]
    path = shipped_path(f"{BACKBONE}-{CT_ICH}-{fold}")
    write_weights(
        path, SimpleNamespace(layers=layers), about, half=True, ancestry=load_classifier(uri).ancestry
    )
    hu = stored.hu(np.arange(0, len(stored.table), 97))[..., None].astype(np.float32)
    halved = demonstration_model(read_weights(path), SCHEME.labels)
    return float(np.abs(np.asarray(model(hu)) - np.asarray(halved(hu))).max())


def of_trained(arguments: argparse.Namespace, stored: StoredSet) -> np.ndarray:
    """The same of the ladder's networks, which are written to files before."""
    mlflow.set_experiment("benchmark-ladder")
    for fold in range(5):
        with np.load(fold_file(arguments, fold, 0)) as file:
            moved = write_network(str(file["run_id"]), fold, stored)
        print(f"fold {fold}: half precision moves a probability by {moved:.4f} at most")
    said = said_by(arguments, len(stored.table), 0)
    return mean_of_logits(said.straight, said.mirrored)


def distances_of_shipped(stored: StoredSet) -> np.ndarray:
    """Feature distances [N] of all slices, each by the shipped network of its own fold. Writes each one's Gaussian."""
    distances = np.zeros(len(stored.table), np.float32)
    for fold in range(5):
        name = f"{BACKBONE}-{CT_ICH}-{fold}"
        weights = read_weights(shipped_path(name))
        dealt = fold_set(stored, int(weights.about["left_out_fold"]))
        network = network_of(demonstration_model(weights, SCHEME.labels), dealt.hu(np.arange(1))[..., None])
        (network,) = with_gaussians([network], dealt, context=0)
        assert network.features is not None
        network.features.write(features_path(name))
        found = validation_distances([network], dealt, context=0)
        assert found is not None
        distances[dealt.rows(VALIDATION)] = found
    return distances


def of_shipped(stored: StoredSet) -> np.ndarray:
    """What the shipped networks say [N, 5], each of its own fold, averaged with the mirror image."""
    outputs = np.zeros((len(stored.table), len(SCHEME.labels)), np.float32)
    for fold in range(5):
        weights = read_weights(shipped_path(f"{BACKBONE}-{CT_ICH}-{fold}"))
        rows = fold_set(stored, int(weights.about["left_out_fold"])).rows(VALIDATION)
        network = demonstration_model(weights, SCHEME.labels)
        hu = stored.hu(rows)[..., None].astype(np.float32)
        views = [network.predict(one, batch_size=16, verbose=0) for one in (hu, hu[:, :, ::-1])]
        outputs[rows] = mean_of_logits(*views)
    return outputs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="the ladder's stored set of CT-ICH")
    parser.add_argument("--out", type=Path, default=Path("data/ladder"), help="the ladder's folder")
    parser.add_argument("--again", action="store_true", help="of the networks that are shipped")
    parser.add_argument("--smoothing", default=AUTO, help="along the series; auto: chosen")
    arguments = parser.parse_args()
    stored = fold_set(StoredSet.open(Path(arguments.data)), 0)
    outputs = of_shipped(stored) if arguments.again else of_trained(arguments, stored)
    distances = distances_of_shipped(stored)
    everyone = replace(stored, table=stored.table.assign(split=VALIDATION))
    for num_classes in (5, 4):
        scheme = class_scheme(num_classes)
        places = [SCHEME.labels.index(label) for label in scheme.labels]
        chosen = from_validation(
            everyone,
            outputs[:, places],
            scheme,
            calibration=AUTO,
            rule=MAX_F1,
            mirror=True,
            series_smoothing=arguments.smoothing,
            train_rows=np.arange(len(stored.table)),
            distances=distances,
        )
        specification = chosen.specification(
            stored, run_id="demonstration", weights="phantom", recipe="ladder", members=5
        )
        path = shipped_path(BACKBONE).with_name(specification_name(BACKBONE, num_classes, CT_ICH))
        specification.write(path)
        assert chosen.slice_predictions is not None
        slices, exams = (one.metrics() for one in (chosen.slice_predictions, chosen.exam_predictions))
        print(
            f"{num_classes} classes: smoothing {specification.series_smoothing}, exams by "
            f"{specification.aggregation}; out of fold slices macro {slices.macro('auc'):.3f}, any "
            f"{slices.per_label[-1]['auc']:.3f}, exams any {exams.per_label[-1]['auc']:.3f}; "
            f"false alarms on {false_alarms_of(chosen.slice_predictions)} slices of normal patients; "
            f"{specification.abstention}"
        )


if __name__ == "__main__":
    main()
