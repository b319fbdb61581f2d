"""Whether a candidate model takes the champion's place: gates, each with its numbers. Decides only, acts on nothing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BETTER, NOT_WORSE = "better", "not_worse"
REQUIREMENTS = (BETTER, NOT_WORSE)
#: Gates about being better than the champion, which an explicit wish may pass over; never those about serving.
COMPARING = ("AUC", "labels", "calibration", "data")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the gates demand. AUC and calibration error are numbers between 0 and 1.

    require: `better`: the whole 95 % interval of the difference in mean AUC lies above 0; `not_worse`: above -margin.
    label_margin: by how much one label's AUC may be lower. calibration_margin: by how much the mean expected
    calibration error may be higher. same_data: whether the champion's not having seen the test patients must be known.
    """

    require: str = BETTER
    margin: float = 0.01
    label_margin: float = 0.05
    calibration_margin: float = 0.02
    max_latency_ms: float = 200.0
    max_size_mb: float = 200.0
    same_data: bool = True


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A figure of candidate and champion on the same test slices.

    low, high: the paired 95 % interval of candidate minus champion; NaN where it can't be told.
    """

    candidate: float
    champion: float
    low: float = math.nan
    high: float = math.nan

    @property
    def difference(self) -> float:
        return self.candidate - self.champion


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known when candidate and champion meet. champion: its name, None where there is none.

    macro_auc: of the candidate, None where no label is estimable; auc, labels: against the champion's, on the rows of
    the test set `digest`; not_estimable: labels that neither could be scored on; too_few: labels that auc, a mean, is
    without, since too few patients have them or lack them for an interval. ece: mean expected calibration error.
    trained_digest: of the set the candidate learned from. champion_seen: '' where it is known that the champion was
    not trained on these patients, else what is wrong. signature, registration, smoke: '' where all is well, else what
    is wrong; smoke None where it was not tried.
    """

    candidate: str
    champion: str | None
    unit: str
    digest: str
    trained_digest: str
    champion_seen: str
    macro_auc: float | None
    auc: Compared | None
    labels: Mapping[str, Compared]
    not_estimable: tuple[str, ...]
    too_few: tuple[str, ...] = ()
    ece: float | None
    champion_ece: float | None
    latency_ms: float
    size_mb: float
    signature: str
    registration: str
    smoke: str | None


@dataclass(frozen=True)
class Gate:
    """One condition: what was found, with its numbers and the limit."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True)
class Decision:
    """Whether to promote, and the gates that say why. replaced: gates that failed and were passed over on demand."""

    promote: bool
    gates: tuple[Gate, ...]
    replaced: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that failed."""
        return tuple(gate.name for gate in self.gates if not gate.passed)

    def lines(self) -> list[str]:
        """One line a gate, aligned."""
        width = max(len(gate.name) for gate in self.gates)
        said = [
            f"{'passed' if gate.passed else 'FAILED'}  {gate.name:<{width}}  {gate.said}"
            for gate in self.gates
        ]
        also = [f"promoted all the same (replace=true): {', '.join(self.replaced)}"] if self.replaced else []
        return said + also

    def why(self) -> str:
        """In one sentence: what failed and how, or what the mean AUC was."""
        failed = [gate for gate in self.gates if not gate.passed and gate.name not in self.replaced]
        gates = failed or [gate for gate in self.gates if gate.name == COMPARING[0]]
        also = f"; replace=true passed over {', '.join(self.replaced)}" if self.replaced else ""
        return "; ".join(f"{gate.name}: {gate.said}" for gate in gates) + also

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "promote": self.promote,
            "replaced": list(self.replaced),
            "gates": [{"gate": one.name, "passed": one.passed, "said": one.said} for one in self.gates],
        }


def decide(facts: Facts, limits: Limits, *, replace: bool = False) -> Decision:
    """Promote where every gate is passed. replace: those in COMPARING may fail."""
    gates = (
        _auc(facts, limits),
        _labels(facts, limits),
        _calibration(facts, limits),
        _data(facts, limits),
        _at_most("latency", facts.latency_ms, limits.max_latency_ms, "ms for one slice", "max_latency_ms"),
        _at_most("size", facts.size_mb, limits.max_size_mb, "MB", "max_size_mb"),
        Gate("signature", not facts.signature, facts.signature or "takes and gives what it should"),
        Gate("registry", not facts.registration, facts.registration or "not registered as champion yet"),
        _smoke(facts),
    )
    failed = tuple(gate.name for gate in gates if not gate.passed)
    if not failed:
        return Decision(True, gates)
    if replace and all(name in COMPARING for name in failed):
        return Decision(True, gates, failed)
    return Decision(False, gates)


def _auc(facts: Facts, limits: Limits) -> Gate:
    name, auc = COMPARING[0], facts.auc
    if facts.macro_auc is None or not math.isfinite(facts.macro_auc):
        return Gate(
            name, False, f"the mean AUC is not estimable on test set {facts.digest[:12]}: too few patients"
        )
    if facts.champion is None:
        return Gate(name, True, f"mean AUC {facts.macro_auc:.4f} of {facts.unit}; there is no champion yet")
    if auc is None:
        return Gate(name, False, f"no label is estimable for both {facts.candidate} and {facts.champion}")
    said = f"mean AUC {auc.candidate:.4f} against {auc.champion:.4f}, difference {auc.difference:+.4f}"
    if math.isnan(auc.low):
        few = "too few patients with or without any label"
        return Gate(name, False, f"{said}; its interval can't be told: {few}")
    if facts.too_few:
        said = f"{said} without {', '.join(facts.too_few)} (too few patients)"
    bound = 0.0 if limits.require == BETTER else -limits.margin
    wanted = "above 0 (better)" if limits.require == BETTER else f"above {bound:g} (not worse)"
    return Gate(
        name, auc.low > bound, f"{said} ({auc.low:+.4f} to {auc.high:+.4f}); expected all of it {wanted}"
    )


def _labels(facts: Facts, limits: Limits) -> Gate:
    name = COMPARING[1]
    unknown = f"; not estimable: {', '.join(facts.not_estimable)}" if facts.not_estimable else ""
    if facts.champion is None:
        return Gate(name, True, f"there is no champion yet{unknown}")
    worse = {label: one for label, one in facts.labels.items() if not one.difference >= -limits.label_margin}
    if worse:
        said = ", ".join(
            f"{label} {one.candidate:.4f} against {one.champion:.4f} ({one.difference:+.4f})"
            for label, one in worse.items()
        )
        return Gate(name, False, f"AUC lower by more than {limits.label_margin:g}: {said}{unknown}")
    if not facts.labels:
        return Gate(name, False, f"no label is estimable{unknown}")
    lowest = min(facts.labels, key=lambda label: facts.labels[label].difference)
    said = f"the largest step back is {lowest}, {facts.labels[lowest].difference:+.4f} AUC"
    if facts.labels[lowest].difference >= 0:
        said = "no label's AUC is lower"
    return Gate(name, True, f"{said} (at most -{limits.label_margin:g}){unknown}")


def _calibration(facts: Facts, limits: Limits) -> Gate:
    name = COMPARING[2]
    if facts.ece is None:
        return Gate(name, False, "the expected calibration error is not estimable")
    if facts.champion is None or facts.champion_ece is None:
        return Gate(name, True, f"expected calibration error {facts.ece:.4f}; no champion's to compare with")
    bound = facts.champion_ece + limits.calibration_margin
    said = f"expected calibration error {facts.ece:.4f} against {facts.champion_ece:.4f}, expected at most {bound:.4f}"
    return Gate(name, facts.ece <= bound, said)


def _data(facts: Facts, limits: Limits) -> Gate:
    name, scored = COMPARING[3], f"scored on test set {facts.digest[:12]}"
    if facts.trained_digest != facts.digest:
        said = f"{scored}, but the candidate was trained on {facts.trained_digest[:12]}"
        return Gate(name, not limits.same_data, f"{said}{_asked(limits)}")
    if facts.champion is None:
        return Gate(name, True, f"{scored}, whose training split the candidate learned from")
    if facts.champion_seen:
        return Gate(name, not limits.same_data, f"{scored}; {facts.champion_seen}{_asked(limits)}")
    return Gate(name, True, f"both {scored}, whose patients neither has seen")


def _asked(limits: Limits) -> str:
    return "" if limits.same_data else " (not demanded: same_data=false)"


def _at_most(name: str, value: float, limit: float, unit: str, option: str) -> Gate:
    return Gate(name, value <= limit, f"{value:.1f} {unit}, expected at most {limit:g} ({option}=)")


def _smoke(facts: Facts) -> Gate:
    if facts.smoke is None:
        return Gate("serving", True, "not tried")
    said = "the scoring server answers a DICOM file as the offline model does"
    return Gate("serving", not facts.smoke, facts.smoke or said)
