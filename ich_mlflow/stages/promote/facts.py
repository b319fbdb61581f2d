"""What is known when a candidate and a champion meet, and what is demanded of it: numbers and words for the gates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

BETTER, NOT_WORSE = "better", "not_worse"
REQUIREMENTS = (BETTER, NOT_WORSE)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the gates demand. AUC and Brier skill are numbers up to 1; of log odds 0.5 is a factor of 1.65.

    require: `better`: the whole 95 % interval of the difference in mean AUC lies above 0; `not_worse`: above -margin.
    label_margin: by how much an AUC may be lower: of a label, of any, of exams, at the champion's home.
    calibration_margin: by how much the Brier skill may be lower. intercept_margin: how far from 0 a calibration
    intercept may lie. same_data: whether it must be known that nobody has learned from the test patients.
    """

    require: str = BETTER
    margin: float = 0.01
    label_margin: float = 0.05
    calibration_margin: float = 0.02
    intercept_margin: float = 0.5
    max_latency_ms: float = 200.0
    max_size_mb: float = 200.0
    same_data: bool = True


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the candidate and its 95 % interval; NaN where it, or its interval, can't be told."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_told(self) -> bool:
        """Whether it has an interval."""
        return not math.isnan(self.low)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A figure of the candidate and of another, the champion or a null model, on the same slices or exams.

    low, high: the paired 95 % interval of candidate minus other; NaN where it can't be told. without: labels that it,
    a mean, is without, since too few patients have them or lack them for an interval.
    """

    candidate: float
    other: float
    low: float = math.nan
    high: float = math.nan
    without: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """Candidate minus other."""
        return self.candidate - self.other

    @property
    def is_told(self) -> bool:
        """Whether it has an interval."""
        return not math.isnan(self.low)


@dataclass(frozen=True, kw_only=True)
class OverNullModel:
    """The AUC beside that of what doesn't look at the image. of: `any of slices`, `mean of exams`.

    null_model: its name. compared: None where the AUC is not estimable.
    """

    of: str
    null_model: str
    compared: Compared | None


@dataclass(frozen=True, kw_only=True)
class CalibrationLine:
    """Whether the log odds of a finding are right. of: `any of slices`. A calibrated model has intercept 0, slope 1."""

    of: str
    intercept: Figure
    slope: Figure


@dataclass(frozen=True, kw_only=True)
class Home:
    """The candidate on the champion's own test set.

    why_not: why it was not scored there, '' where it was. seen: of the candidate and the patients there, as Facts
    has it. aucs: of any and the mean, by name.
    """

    digest: str = ""
    why_not: str = ""
    seen: str = ""
    aucs: Mapping[str, Compared] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Versus:
    """The candidate beside a champion that was scored on the same rows.

    auc: the mean of the unit, None where no label is estimable for both. labels: AUC of each subtype. any_auc: AUC of
    any by unit. exam_auc: the mean of exams, None where they are the unit or it is not estimable. skill: Brier skill by
    name, `mean of slices`. seen: of the champion, as Facts has it of the candidate. same_networks: whether one is the
    other recalibrated.
    """

    auc: Compared | None
    labels: Mapping[str, Compared]
    any_auc: Mapping[str, Compared]
    exam_auc: Compared | None
    skill: Mapping[str, Compared]
    seen: str
    home: Home
    same_networks: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known when candidate and champion meet. champion: its name, None where there is none.

    unreadable: why the champion can't be read, '' where it can. versus: None where there is no champion that could be
    scored; over_null_models, empty elsewhere, take its place then.
    source, champion_source: of the data that each learned from, '' where it is not known. misnamed: '' or why a model
    of such data can't have the registered name.
    unit: what the mean AUC is of, slices, or exams where labels are of exams alone. macro_auc: of the candidate, None
    where no label is estimable. digest: of the test set; trained_digest: of the set that the candidate learned from.
    seen: '' where it is known that neither it nor what its weights come from was trained on the test patients, else
    what is wrong.
    not_estimable: `epidural of slices`, what has no figure. calibration: of each finding and unit.
    signature, registration, smoke: '' where all is well, else what is wrong; smoke None where it was not tried.
    """

    candidate: str
    champion: str | None
    unreadable: str = ""
    versus: Versus | None
    source: str
    champion_source: str
    misnamed: str = ""
    unit: str
    digest: str
    trained_digest: str
    seen: str
    macro_auc: float | None
    not_estimable: tuple[str, ...]
    over_null_models: tuple[OverNullModel, ...]
    calibration: tuple[CalibrationLine, ...]
    latency_ms: float
    size_mb: float
    signature: str
    registration: str = ""
    smoke: str | None = None

    @property
    def why_not_compared(self) -> str:
        """Why nothing is compared with a champion."""
        return "the champion can't be read" if self.unreadable else "there is no champion yet"
