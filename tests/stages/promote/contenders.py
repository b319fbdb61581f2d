"""Training runs with a model whose quality is known: a network of one layer, for slices that show labels as bands.

Run as a script it promotes in a process of its own, which may be killed on the way, or wait for another.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import keras
import mlflow
import numpy as np

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.labels import ANY, SUBTYPES, class_scheme
from ich_mlflow.models.ancestry import Ancestor, Ancestry
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.serving.packaging import log_models
from ich_mlflow.stages.common.specification import from_validation
from ich_mlflow.stages.common.stored_sets import learned_from
from ich_mlflow.stages.evaluate import evaluate as evaluate_module
from ich_mlflow.stages.promote import examination
from ich_mlflow.stages.promote import promote as promote_module
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.tracking.registry import MODEL_URI_TAG
from ich_mlflow.tracking.run import start_run
from tests.factories import ArraySource, write_dicom

#: Promote looks through the runs of one experiment: here these alone.
EXPERIMENT = "promotions of contenders"
_BANDS = 8
#: Half the size of the noise's band among those of the labels.
#: So that the ReLU of the head lets every HU through.
_LIFT = 2000.0
_NOISE = 5


class BandSource(ArraySource):
    """Slices with a band of 64 rows for each subtype, 80 HU where it is there and 0 where not, and a band of noise.

    away: of another hospital: other patients, and the bands of the subtypes stand the other way round.
    """

    away = False

    def read(self, file):
        plain = super().read(file)
        number = int(file.sop_uid[1:])
        values = [80 * label for label in self._labels_of(number)][:: -1 if self.away else 1]
        values += [int(np.random.default_rng(number).integers(0, 80))]
        hu = np.repeat(np.array([*values, 0, -1000], np.int16), 64)[:, None] * np.ones(512, np.int16)
        names = ("patient_id", "study_uid", "series_uid") if self.away else ()
        return Slice(**{**vars(plain), **{name: f"away-{getattr(plain, name)}" for name in names}, "hu": hu})


def make_set(folder: Path, *, seed: int = 0, num_patients: int = 80) -> StoredSet:
    """Every subtype in every second patient, so that hardly one has no bleed."""
    labels = np.random.default_rng(seed).integers(0, 2, size=(num_patients, 5)).tolist()
    return _made(BandSource(folder, labels, slices_per_patient=2), folder, seed)


def make_arena(folder: Path, *, seed: int = 0, away: bool = False) -> StoredSet:
    """200 patients, every subtype in every fourth, so that a quarter has no bleed: what a promotion needs."""
    labels = (np.random.default_rng(seed).random(size=(200, 5)) < 0.25).astype(int).tolist()
    source = BandSource(folder, labels, slices_per_patient=2)
    source.away = away
    return _made(source, folder, seed)


def _made(source: BandSource, folder: Path, seed: int) -> StoredSet:
    options = BuildOptions(seed=seed, workers=1, fractions=(0.4, 0.25, 0.35))
    return build_stored_set(source, folder / "set", options, progress=False)


def train_contender(
    stored: StoredSet,
    quality: float,
    *,
    num_classes: int = 5,
    source: str = "array",
    away: bool = False,
    before: Sequence[Ancestor] = (),
) -> str:
    """A finished train run, and its id. quality: 1 looks at the labels' bands alone, 0 at noise alone.

    source: what the run says that it learned from. away: looks at the bands as they stand there. before: what its
    weights are said to have learned from.
    """
    scheme = class_scheme(num_classes)
    model = _network(scheme, quality, away=away)
    with start_run("train") as run:
        rows = stored.rows("validation")
        probabilities = model.predict(stored.hu(rows).astype(np.float32)[..., None], verbose=0)
        chosen = from_validation(stored, probabilities, scheme, calibration="auto", rule="max_f1")
        specification = chosen.specification(
            stored, run_id=run.run_id, weights="random", recipe="reference", decides_by="max_f1", context=0
        )
        run.params(
            {"num_classes": num_classes, "recipe": "reference", "backbone": "efficientnet-b0"}, prefix="hp"
        )
        run.params({"path": stored.path, "digest": stored.digest, "source": source}, prefix="data")
        run.params({"start": "random", "said": "weights: made by hand"}, prefix="weights")
        run.metrics({"val/auc/macro": 0.5 + quality / 2, "val/loss": 1 - quality})
        ancestry = Ancestry((*before, learned_from(stored, by=f"run {run.run_id}")))
        _, serving_uri = log_models(
            [network_of(model, stored.hu(rows[:4])[..., None])], specification, ancestry, name="contender"
        )
        run.tags({MODEL_URI_TAG: serving_uri})
        return run.run_id


def _network(scheme, quality: float, *, away: bool) -> keras.Model:
    """Laid out as a classifier is: feature maps (the bands), pooled, and a head whose first layer is the identity."""
    labels = len(scheme.labels)
    hu = keras.Input((256, 256, 1), name="hu")
    bands = keras.layers.Reshape((1, 1, _BANDS))(keras.layers.AveragePooling2D((256 // _BANDS, 256))(hu))
    x = keras.layers.GlobalAveragePooling2D(name="gap")(bands)
    x = keras.layers.Dense(_BANDS, activation="relu", name="dense")(x)
    model = keras.Model(hu, keras.layers.Dense(labels, activation="sigmoid", name="probabilities")(x))
    model.get_layer("dense").set_weights(
        [np.eye(_BANDS, dtype=np.float32), np.full(_BANDS, _LIFT, np.float32)]
    )
    kernel = np.zeros((_BANDS, labels), np.float32)
    for number, label in enumerate(scheme.labels):
        bands = range(5) if label == ANY else [SUBTYPES.index(label)]
        for band in bands:
            kernel[4 - band if away else band, number] = 0.05 * quality
        kernel[_NOISE, number] = 0.05 * (1 - quality)
    bias = -2.0 - _LIFT * kernel.sum(axis=0)
    model.get_layer("probabilities").set_weights([kernel, bias.astype(np.float32)])
    return model


def quick(monkeypatch=None) -> None:
    """Evaluate without pictures: the network has no feature maps, and none is looked at here.

    Candidates are tried with a made-up slice: a phantom, of which a whole exam is made first, takes seconds.
    """
    change = monkeypatch.setattr if monkeypatch else setattr
    for name in ("log_heat_maps", "log_figures"):
        change(evaluate_module, name, lambda *args, **kwargs: None)
    change(examination, "phantom_dicom", _made_up_dicom)


@cache
def _made_up_dicom() -> bytes:
    values = np.random.default_rng(0).integers(0, 1100, size=(512, 512))
    with tempfile.TemporaryDirectory() as folder:
        return write_dicom(Path(folder) / "slice.dcm", values).read_bytes()


def _dies_after(module, name: str) -> None:
    whole = getattr(module, name)

    def dies(*args, **kwargs):
        whole(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, name, dies)


def _waits_for(other: Path, here: Path) -> None:
    whole = promote_module.examine

    def examine(*args, **kwargs):
        examined = whole(*args, **kwargs)
        here.touch()
        while not other.exists():
            time.sleep(0.05)
        return examined

    promote_module.examine = examine


def main() -> None:
    told = json.loads(sys.argv[1])
    mlflow.set_tracking_uri(told["tracking_uri"])
    mlflow.set_experiment(EXPERIMENT)
    quick()
    if told.get("dies") == "after registering":
        from ich_mlflow.tracking import versions

        _dies_after(versions.mlflow, "register_model")
    if told.get("dies") == "after moving champion":
        _dies_at_champion()
    if "waits_for" in told:
        _waits_for(Path(told["waits_for"]), Path(told["touches"]))
    decision = promote_module.promote_candidate(PromoteOptions(**told["options"]))
    print("DECISION", json.dumps(decision.to_dict()), flush=True)


def _dies_at_champion() -> None:
    whole = mlflow.MlflowClient.set_registered_model_alias

    def moved(self, name, alias, version):
        whole(self, name, alias, version)
        if alias == "champion":
            os.kill(os.getpid(), signal.SIGKILL)

    mlflow.MlflowClient.set_registered_model_alias = moved


if __name__ == "__main__":
    main()
