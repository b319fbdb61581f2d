"""The network of a model version and what it means: labels, calibration, operating points, heat maps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.abstention import Abstention
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.null_models import NullModel
from ich_mlflow.evaluation.operating_point import MAX_F1
from ich_mlflow.labels import findings_of, with_any
from ich_mlflow.models.ancestry import ANCESTRY_FILE, Ancestry
from ich_mlflow.models.family import Reading, member_folders
from ich_mlflow.models.lesion_maps import CELL_THRESHOLD
from ich_mlflow.models.registry import FAMILIES, SLICE_CNN
from ich_mlflow.models.series import NONE, mean_explained, read_series
from ich_mlflow.models.slice_cnn.runtimes import LITERT
from ich_mlflow.serving.integrity import expect_said, expect_whole, known_slice, seal
from ich_mlflow.system.whole import write_whole

SPECIFICATION_FILE = "serving.json"
#: Of an ensemble of folds: `arr_<member>`, hashes uint64 of the patients that the member has not learned from.
UNSEEN_FILE = "unseen.npz"
#: Keys of serving.json that are public, and older than the names in code.
_NULL_MODELS, _EXAM_NULL_MODEL = "floors", "exam_floor"


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What a model version knows of itself; serving.json beside its graphs.

    labels: what the network gives, [..., L]. findings: those and any, [..., F], which are calibrated and decided.
    slices, exams: calibrations and operating points of the findings, chosen on validation; thresholds are of
        calibrated probabilities, and a decision is positive from them up.
    aggregation: how what the network says of slices becomes an exam's score, before its own calibration.
    decides_by: the rule of the operating points that decisions go by.
    null_models: predictors that don't look at the image, by name: what the model has to beat, on any data.
    exam_null_model: the same for exams: how often each label was in training exams.
    context: neighbouring slices on either side that the network takes beside the slice itself.
    series_smoothing: how far what is said of a slice is averaged along its series (models/series.py).
    mirror: whether the network looks at the mirror image of a slice too, and says the mean.
    family: the model family, one of FAMILIES. members: how many networks there are, whose mean is said.
    blood_threshold: of a model with a lesion map, the share of blood from which a pixel is counted as blood, chosen on
        validation by masks of blood_patients there; None where it has no map, or validation has no masks.
    recalibrated_on: the local exams that slices and exams were moved by after that, in words; '' where by none.
    abstention: when an exam is uncertain; None where that was not chosen, as of a version before.
    """

    labels: tuple[str, ...]
    slices: Chosen
    exams: Chosen
    aggregation: str
    null_models: Mapping[str, NullModel]
    exam_null_model: NullModel
    decides_by: str = MAX_F1
    run_id: str
    trained_on: str
    data_digest: str
    weights: str
    recipe: str
    context: int = 0
    series_smoothing: str = NONE
    mirror: bool = False
    family: str = SLICE_CNN
    members: int = 1
    blood_threshold: float | None = None
    blood_patients: int = 0
    recalibrated_on: str = ""
    abstention: Abstention | None = None

    @property
    def reads_series(self) -> bool:
        """Whether what it says of a slice depends on the slices around it."""
        return FAMILIES[self.family].reads_series or self.context > 0 or self.series_smoothing != NONE

    @property
    def findings(self) -> tuple[str, ...]:
        """The labels, and any after them where it is none of them."""
        return findings_of(self.labels)

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """What the network says of the findings [N, F], from its outputs [N, L]: rankings go by these."""
        return with_any(outputs, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("slices", "exams"):
            values[name] = values[name].to_dict()
        values[_EXAM_NULL_MODEL] = values.pop("exam_null_model").to_dict()
        values[_NULL_MODELS] = {name: null.to_dict() for name, null in values.pop("null_models").items()}
        if self.blood_threshold is None:  # most models have no lesion map, and are read by versions before it
            del values["blood_threshold"], values["blood_patients"]
        if not self.recalibrated_on:  # likewise
            del values["recalibrated_on"]
        if self.abstention is None:
            del values["abstention"]
        else:
            values["abstention"] = self.abstention.to_dict()
        return values

    def _checked(self) -> "Specification":
        """Itself. Raises ValueError where what was chosen is of other labels: 0.1 had none of any."""
        for chosen in (self.slices, self.exams):
            found = tuple(one.label for one in chosen.calibrations)
            if found != self.findings:
                raise ValueError(
                    f"calibrations are of {', '.join(found)}, expected {', '.join(self.findings)}"
                )
        if self.family not in FAMILIES:
            raise ValueError(f"its family is {self.family}, expected one of {', '.join(FAMILIES)}")
        return self

    def write(self, path: Path) -> None:
        write_whole(path, json.dumps(self.to_dict(), indent=2))

    @classmethod
    def read(cls, path: Path) -> "Specification":
        """The reverse of write. Raises ModelError for a file that another version of ich_mlflow wrote."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            for name in ("slices", "exams"):
                values[name] = Chosen.from_dict(values[name])
            values["exam_null_model"] = NullModel.from_dict(values.pop(_EXAM_NULL_MODEL))
            if "abstention" in values:
                values["abstention"] = Abstention.from_dict(values["abstention"])
            null_models = values.pop(_NULL_MODELS)
            values["null_models"] = {name: NullModel.from_dict(one) for name, one in null_models.items()}
            return cls(**{**values, "labels": tuple(values["labels"])})._checked()
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path.name} of this model is not as this version of ich_mlflow writes it ({error}): train the model "
                "again, or use the version that made it"
            ) from None


class Classifier:
    """A model version's networks with what they mean. Safe to share by threads; with LiteRT it needs no TensorFlow."""

    def __init__(self, folder: Path, *, runtime: str = LITERT) -> None:
        """Open what package.assemble wrote, and run it once, since the first call is slow.

        Raises ModelError where the files are not those that were logged, or don't say what they said then.
        """
        said = expect_whole(folder)
        self.folder = folder
        self.specification = Specification.read(folder / SPECIFICATION_FILE)
        self.ancestry = Ancestry.read(folder / ANCESTRY_FILE)
        family = FAMILIES[self.specification.family]
        self.members = tuple(
            family.open(one, runtime, self.specification)
            for one in member_folders(folder, self.specification.members)
        )
        expect_said(said, self.said_of_known_slice())

    def said_of_known_slice(self) -> dict[str, float]:
        """What is said of integrity.known_slice(), before calibration, by label."""
        (said,) = self.uncalibrated(known_slice()[None])
        return dict(zip(self.specification.labels, map(float, said), strict=True))

    def seal(self) -> None:
        """Note beside the files what they are and say, so that a change is noticed where they are opened."""
        seal(self.folder, self.said_of_known_slice())

    def probabilities(self, hu: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float64 [B, F] of the findings, of slices [B, 256, 256] each by itself."""
        return self.specification.slices.calibrated(self.specification.scores(self.uncalibrated(hu)))

    def uncalibrated(self, hu: np.ndarray) -> np.ndarray:
        """What is said of slices [B, 256, 256] each by itself, a series of one: float32 [B, L]."""
        return np.concatenate([self.predict_series(one[None], np.zeros(1)).slices for one in hu])

    def unseen(self) -> tuple[np.ndarray, ...]:
        """Hashes (by models.ancestry) of the patients that each member has not learned from; () where all saw all."""
        path = self.folder / UNSEEN_FILE
        if not path.is_file():
            return ()
        with np.load(path, allow_pickle=False) as file:
            return tuple(file[f"arr_{number}"] for number in range(len(self.members)))

    def predict_series(self, hu: np.ndarray, position_mm: np.ndarray) -> Reading:
        """What is said of one series: of its slices [n, L] in the order that they are given in, and of the exam [L].

        hu [n, 256, 256]; position_mm [n] along the series, towards the head. A lone slice is a series of one. Of an
        exam only some families say anything themselves.
        """
        specification = self.specification
        return read_series(
            self.members,
            hu,
            position_mm,
            mirror=specification.mirror,
            smoothing=specification.series_smoothing,
        )

    @property
    def is_plain(self) -> bool:
        """Whether it says of a slice what its networks say of it as it stands, with which heat maps come."""
        specification = self.specification
        family = FAMILIES[specification.family]
        return not (specification.mirror or specification.series_smoothing != NONE or family.reads_series)

    @property
    def can_explain(self) -> bool:
        """Whether its family has heat maps."""
        return hasattr(self.members[0], "explained")

    @property
    def finds_blood(self) -> bool:
        """Whether its heat maps are lesion maps, 0 to 1: the share of each place that is blood."""
        return self.can_explain and all(one.finds_blood for one in self.members)  # type: ignore[attr-defined]

    @property
    def blood_threshold(self) -> float:
        """The share from which a pixel of a lesion map is counted as blood: validation's choice, or else one half."""
        chosen = self.specification.blood_threshold
        return CELL_THRESHOLD if chosen is None else chosen

    def explained(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the networks say of each slice as it stands, float32 [B, L], and saliency maps float32 [B, L, h, w].

        hu: HU [B, 256, 256, 1 + 2 * context]. Of the image alone, neither mirrored nor smoothed: where the networks
        find it is asked of one slice. Several networks' maps are averaged. Raises ModelError where the family has none.
        """
        if not self.can_explain:
            raise ModelError(
                f"this model is of the family {self.specification.family}, which has no heat maps: ask without explain"
            )
        return mean_explained(self.members, hu)  # type: ignore[arg-type]
