"""What the demonstration models are packed with, chosen on phantoms that pretraining has not seen.

    python benchmarks/demonstration_specifications.py --exams 400

Makes a cohort of phantoms with a seed of its own, scores its validation split with the shipped weights of each
backbone, chooses calibrations, operating points and aggregation there as train does, and writes
ich_mlflow_weights/<backbone>-phantom-<n>class.json. Run it after a change of what a specification holds; the weights
stay. Where the weights come from, and the digest of what they learned from, is kept from their own record.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ich_mlflow.ct.window import BRAIN
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.calibration_fit import AUTO
from ich_mlflow.evaluation.operating_point import MAX_F1
from ich_mlflow.labels import SCHEMES
from ich_mlflow.models.series import NONE
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import backbone_of, build_classifier
from ich_mlflow.models.weights import (
    IMAGE_SIZE_NOTE,
    put_weights,
    read_weights,
    shipped_path,
    specification_name,
)
from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
from ich_mlflow.stages.common.specification import from_validation
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess

#: From 4,000,000,000 up seeds are pretraining's alone; its own cohort has 4,000,000,007.
SEED = 4_000_000_011
BACKBONES = ("efficientnet-b0", "efficientnet-lite0")
LABELS = SCHEMES[6].labels


def cohort(folder: Path, *, exams: int) -> StoredSet:
    """The phantoms as a stored set: seven in ten exams validate, the others give the null models their shares."""
    made = write_cohort(folder / "cohort", CohortOptions(exams=exams, seed=SEED, exam_rate=0.35, rows=256))
    return preprocess(
        PreprocessOptions(
            source="phantom",
            data=str(made),
            out=str(folder / "stored"),
            seed=SEED,
            validation_fraction=0.7,
            test_fraction=0.05,
        )
    )


def outputs(backbone: str, stored: StoredSet) -> np.ndarray:
    """What the network of those weights says of the validation slices, float32 [N, 6] in the order of LABELS."""
    weights = read_weights(shipped_path(f"{backbone}-phantom"))
    size = int(weights.about[IMAGE_SIZE_NOTE])
    network = build_classifier(
        num_labels=len(LABELS),
        image_size=size,
        windows=(BRAIN,),
        backbone=build_backbone(name=backbone, image_size=size),
    )
    put_weights(backbone_of(network), weights.arrays)
    for layer in ("dense", "probabilities"):
        network.get_layer(layer).set_weights([weights.arrays[f"{layer}/{number}"] for number in range(2)])
    rows = stored.rows("validation")
    parts = [
        np.asarray(network(stored.hu(part)[..., None].astype(np.float32), training=False))
        for part in np.array_split(rows, -(-len(rows) // 64))
    ]
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exams", type=int, default=400)
    parser.add_argument("--folder", default="data/demonstration-specifications")
    arguments = parser.parse_args()
    stored = cohort(Path(arguments.folder), exams=arguments.exams)
    for backbone in BACKBONES:
        said = outputs(backbone, stored)
        about = read_weights(shipped_path(f"{backbone}-phantom")).about
        for scheme in SCHEMES.values():
            places = [LABELS.index(label) for label in scheme.labels]
            chosen = from_validation(
                stored, said[:, places], scheme, calibration=AUTO, rule=MAX_F1, series_smoothing=NONE
            )
            specification = replace(
                chosen.specification(stored, run_id="demonstration", weights="phantom", recipe="pretrain"),
                trained_on=f"phantom, {about['exams']:,} exams, digest {about['cohort_digest'][:12]}",
                data_digest=about["cohort_digest"],
            )
            path = shipped_path(f"{backbone}-phantom").with_name(
                specification_name(backbone, scheme.num_classes)
            )
            specification.write(path)
            slices, exams = (one.metrics() for one in (chosen.slice_predictions, chosen.exam_predictions))
            print(
                f"{path.name}: {specification.aggregation}; validation slices macro {slices.macro('auc'):.3f}, any "
                f"{slices.per_label[-1]['auc']:.3f}, exams any {exams.per_label[-1]['auc']:.3f}"
            )


if __name__ == "__main__":
    main()
