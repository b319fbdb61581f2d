"""What a model said of one exam, and how that was taken, without whose it was: a line of JSON."""

import hashlib
import hmac
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ich_mlflow.ct import plausibility
from ich_mlflow.dicom.facts import NO_FACTS, HeaderFacts

#: A line of another format is not read.
FORMAT = 1
#: What was answered as an exam, and the slices of one that were answered one by one: the highest of them is noted.
EXAM, SLICES = "exam", "slices"
#: In the order of the worklist: what can't be excluded, and what nobody has looked at, before what was found empty.
FLAGGED, UNCERTAIN, REVIEW, NOT_FLAGGED = "flagged", "uncertain", "review", "not flagged"
STATUSES = (FLAGGED, UNCERTAIN, REVIEW, NOT_FLAGGED)
#: Characters of the hash of a study: 80 bits.
HASH_LENGTH = 20
#: HU that count as soft tissue and fluid: neither air nor bone, which differ with the part of the head that is shown.
SOFT_TISSUE_HU = (0, 80)
#: Every so many rows and columns of a slice are looked at.
THUMBNAIL_STEP = 8
#: Of a series, or of a request, so many slices at most are looked at for it.
MAX_THUMBNAILS = 32
#: A warning's kind by what it holds. Nothing else of a warning is noted.
_KINDS = (
    (plausibility.READ_WITH_CARE, "read with care"),
    (plausibility.UNLIKE_HEAD, "not like a head CT"),
    (plausibility.WINDOW_ONLY, "window only"),
    ("field of view", "field of view"),
    ("not square", "pixels not square"),
    ("not an axial", "not axial"),
    ("localiser", "localiser"),
    ("contrast", "contrast agent"),
    ("neighbouring", "no neighbours"),
    ("at one position", "order not known"),
    ("can't be", "slices that can't be used"),
)
#: Fields that logs of before don't have.
_LATER = ("distance", "uncertain")
OTHER_WARNING = "other"


@dataclass(frozen=True)
class Site:
    """Whose logs they are: a secret key, with which UIDs are hashed."""

    key: bytes

    @property
    def name(self) -> str:
        """Tells sites apart, and says nothing of the key."""
        return self._digest("site")[:8]

    def hashed(self, study_uid: str) -> str:
        """What stands for a study in the logs; '' for one without a UID."""
        return self._digest(f"study {study_uid}")[:HASH_LENGTH] if study_uid else ""

    def _digest(self, text: str) -> str:
        return hmac.new(self.key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Record:
    """One exam that a model was asked about.

    time                  in UTC, of the answer
    site, study           Site.name, Site.hashed ('' without a UID)
    unit                  EXAM or SLICES
    status                flagged, uncertain, review or not flagged
    probabilities         by finding, calibrated; {} where nothing could be said
    positive              findings that were decided positive
    slices, unusable      how many there were, and of those could not be used
    manufacturer, kernel, syntax   by the header; '' where it doesn't say
    step_mm, spacing_mm   from slice to slice, between rows; None where not known
    soft_tissue_hu        the middle of what is soft tissue by its HU; None where not known
    warnings              their kinds, each once
    uncertain             whether the model rather says nothing of it, be it for review too
    distance              how unlike the exam is what the model has learned from; None where it doesn't say
    """

    time: datetime
    site: str
    study: str
    model_name: str
    model_version: str
    unit: str
    status: str
    operating_point: str
    probabilities: Mapping[str, float]
    positive: tuple[str, ...] = ()
    slices: int = 0
    unusable: int = 0
    manufacturer: str = ""
    kernel: str = ""
    syntax: str = ""
    step_mm: float | None = None
    spacing_mm: float | None = None
    soft_tissue_hu: float | None = None
    warnings: tuple[str, ...] = ()
    distance: float | None = None
    uncertain: bool = False

    @property
    def model(self) -> str:
        """As `ich-5class/3` names it."""
        return f"{self.model_name}/{self.model_version}"

    def to_line(self) -> str:
        """JSON in one line, without its end."""
        values = {"format": FORMAT, **asdict(self), "time": self.time.isoformat(timespec="milliseconds")}
        return json.dumps(values, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Record":
        """The reverse, of parsed JSON. Raises ValueError, KeyError or TypeError for anything else."""
        if values["format"] != FORMAT or values["unit"] not in (EXAM, SLICES):
            raise ValueError("of another format")
        if values["status"] not in STATUSES:
            raise ValueError("no status")
        found = {one.name: values[one.name] for one in fields(cls) if one.name not in _LATER}
        found |= {"distance": values.get("distance"), "uncertain": bool(values.get("uncertain"))}
        time = datetime.fromisoformat(found["time"])
        if time.tzinfo is None:
            raise ValueError("a time without its zone")
        found["time"] = time.astimezone(UTC)
        found["probabilities"] = {str(name): _share(one) for name, one in found["probabilities"].items()}
        for name in ("positive", "warnings"):
            found[name] = tuple(map(str, found[name]))
        for name in ("step_mm", "spacing_mm", "soft_tissue_hu", "distance"):
            found[name] = None if found[name] is None else float(found[name])
        return cls(**found)


def _share(value: Any) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError("no probability")
    return float(value)


def facts_fields(facts: HeaderFacts = NO_FACTS) -> dict[str, str]:
    """A record's fields of header facts."""
    return {"manufacturer": facts.manufacturer, "kernel": facts.kernel, "syntax": facts.syntax}


def known(value: float, digits: int = 2) -> float | None:
    """A number as a record has it: None where it is none."""
    return round(float(value), digits) if math.isfinite(value) else None


def kinds_of(warnings: Iterable[str]) -> tuple[str, ...]:
    """The kinds of warnings, each once, sorted: their texts are left behind."""
    return tuple(sorted({_kind(text) for text in warnings}))


def _kind(text: str) -> str:
    return next((kind for part, kind in _KINDS if part in text), OTHER_WARNING)


def thumbnail(hu: np.ndarray) -> np.ndarray:
    """A few values of a slice [H, W], a copy: what soft_tissue goes by."""
    return hu[::THUMBNAIL_STEP, ::THUMBNAIL_STEP].copy()


def soft_tissue(thumbnails: Iterable[np.ndarray]) -> float:
    """The middle HU of soft tissue in those slices together, nan without any: it moves as a scanner's scale does."""
    low, high = SOFT_TISSUE_HU
    found = [one[(one > low) & (one < high)] for one in thumbnails]
    values = np.concatenate(found) if found else np.empty(0)
    # integers tie: the mean of the middle fifth moves smoothly, where a median would jump
    if not len(values):
        return math.nan
    first, last = np.quantile(values, (0.4, 0.6))
    return float(values[(values >= first) & (values <= last)].mean())
