"""What a pretraining leaves: the file of weights, its figures and pictures, and what demonstration models need."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.operating_point import MAX_F1, default_thresholds
from ich_mlflow.evaluation.recalibrated import recalibrated_loss
from ich_mlflow.evaluation.scores import evaluate_slices
from ich_mlflow.figures.curves import training_curves
from ich_mlflow.figures.overlay import overlay_figure
from ich_mlflow.labels import SCHEMES, SUBTYPES, class_scheme
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.series import NONE
from ich_mlflow.models.weights import IMAGE_SIZE_NOTE, specification_name, write_weights
from ich_mlflow.parameters import AUTO
from ich_mlflow.stages.common.specification import from_validation
from ich_mlflow.stages.common.stored_sets import data_note, learned_from
from ich_mlflow.stages.pretrain.options import PretrainOptions
from ich_mlflow.system.provenance import git_commit
from ich_mlflow.tracking.run import Run
from ich_mlflow.training.pretrain import figures_of, labels_said, lesions_said
from ich_mlflow.training.pretraining_batches import PretrainingBatches

_PICTURED = 12
_LABELS = class_scheme(6).labels
#: Options that say where, not what.
_PLACES = ("out", "resume", "checkpoints")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network after its last epoch, on the run that taught it.

    start: the line that said what it began with; before: what that had learned from.
    """

    run: Run
    options: PretrainOptions
    stored: StoredSet
    network: keras.Model
    start: str
    before: Ancestry
    history: list[dict[str, float]]

    def log_tested(self, test: PretrainingBatches) -> dict[str, float]:
        """AUC of each label and loss on the test split: patients that nothing was chosen by."""
        figures = figures_of(self.network, test, lambda targets, said: label_aucs(targets, said, "test"))
        tested = {name: value for name, value in figures.items() if name.startswith("test/")}
        self.run.metrics(tested)
        print(f"unseen phantom patients: mean AUC {tested['test/auc/macro']:.3f}")
        return tested

    def write_weights(self, tested: dict[str, float], *, image_size: int) -> Path:
        """Write the file that train takes, with the lesion head, and what it was made from; return its path."""
        about: dict[str, Any] = {
            "start": "phantom",
            "made_from": self.start,
            **{name: value for name, value in asdict(self.options).items() if name not in _PLACES},
            "cohort_digest": self.stored.digest,
            IMAGE_SIZE_NOTE: image_size,
            "hours": round(sum(figures["seconds"] for figures in self.history) / 3600, 2),
            "git_commit": git_commit(),
            **{name: round(value, 4) for name, value in tested.items()},
        }
        path = Path(self.options.out) / f"{self.options.backbone}-phantom.npz"
        ancestry = self.before.then(learned_from(self.stored, by=f"run {self.run.run_id}"))
        write_weights(path, self.network, about, half=True, ancestry=ancestry)
        self.run.file(path)
        self.run.dictionary(about, "about.json")
        return path

    def log_pictures(self, test: PretrainingBatches) -> None:
        """The curves, and twelve bleeding slices of unseen patients with the blood that is there and that was found."""
        frame = pd.DataFrame(self.history).assign(epoch=lambda table: table["epoch"] + 1)
        self.run.table(frame, "history.json")
        note = data_note(self.stored)
        curves = training_curves(frame, best_epoch=len(frame), title="Pretraining", note=note)
        self.run.figure(curves, "figures/training_curves.png")
        rows = self.stored.rows("test")
        bleeding = np.flatnonzero(self.stored.subtypes[rows].any(axis=1))
        places = bleeding[:: max(1, len(bleeding) // _PICTURED)][:_PICTURED]
        if not len(places):
            return
        sheet = overlay_figure(
            self.stored.hu(rows[places]),
            lesions_said(self.network, test, places.tolist()),
            [", ".join(np.array(SUBTYPES)[shown > 0]) for shown in self.stored.subtypes[rows[places]]],
            lesions=np.stack([test.mask(int(row)) > 0 for row in rows[places]]),
            title="Blood found on unseen phantoms (map) and there (outline)",
            shown="blood found",
            note=note,
        )
        self.run.figure(sheet, "figures/lesions.png")

    def write_specifications(self, validation: PretrainingBatches) -> None:
        """What a demonstration model of each scheme is packed with: chosen on the validation split, as train does."""
        said = labels_said(self.network, validation)
        for scheme in SCHEMES.values():
            chosen = from_validation(
                self.stored,
                said[:, [_LABELS.index(label) for label in scheme.labels]],
                scheme,
                calibration=AUTO,
                rule=MAX_F1,
                series_smoothing=NONE,
            )
            specification = chosen.specification(
                self.stored, run_id=self.run.run_id, weights="phantom", recipe="pretrain"
            )
            path = Path(self.options.out) / specification_name(self.options.backbone, scheme.num_classes)
            specification.write(path)
            self.run.file(path)


def validation_scores(targets: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """The recalibrated loss of validation slices as `val_loss`, and their AUCs."""
    return {"val_loss": recalibrated_loss(targets, said, _LABELS), **label_aucs(targets, said, "val")}


def label_aucs(targets: np.ndarray, said: np.ndarray, prefix: str) -> dict[str, float]:
    """AUC of each label and their mean, those that are estimable."""
    scored = evaluate_slices(targets, said, default_thresholds(_LABELS), _LABELS)
    wanted = f"{prefix}/auc/"
    return {
        name: value
        for name, value in scored.as_metrics(prefix).items()
        if name.startswith(wanted) and name != f"{wanted}micro"
    }
