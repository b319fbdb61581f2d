"""Whether a candidate model takes the champion's place: gates, each with its numbers. Decides only, acts on nothing."""

from collections.abc import Callable

from ich_mlflow.stages.promote.calibration_gates import brier_skill, calibration
from ich_mlflow.stages.promote.decision import Decision, Gate
from ich_mlflow.stages.promote.facts import Facts, Limits
from ich_mlflow.stages.promote.ranking_gates import (
    auc_of_any,
    auc_of_exams,
    home,
    labels,
    mean_auc,
    null_models,
)

#: Gates that more patients in the test split can open, since intervals decide there.
BY_INTERVAL = ("AUC", "null models", "any", "exams", "Brier skill")
#: Gates about being better than the champion, which an explicit wish may pass over; never those about the candidate
#: itself, nor about serving.
COMPARING = ("AUC", "labels", "any", "exams", "Brier skill", "champion", "source", "home", "data")


def decide(facts: Facts, limits: Limits, *, replace: bool = False) -> Decision:
    """Promote where every gate is passed. replace: those in COMPARING may fail."""
    gates = tuple(Gate(name, *gate(facts, limits)) for name, gate in _GATES.items())
    failed = tuple(gate.name for gate in gates if not gate.passed)
    if not failed:
        return Decision(True, gates)
    if replace and all(name in COMPARING for name in failed):
        return Decision(True, gates, failed)
    return Decision(False, gates)


def _champion(facts: Facts, limits: Limits) -> tuple[bool, str]:
    if facts.champion is None:
        return True, facts.why_not_compared
    if facts.unreadable:
        return False, (
            f"{facts.champion} can't be read, so nothing is compared with it: {facts.unreadable}; replace=true "
            "promotes without that comparison"
        )
    return True, f"{facts.champion} is scored on the same rows"


def _source(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """A champion of other data is no rival: each is best at home."""
    mine, theirs = (source or "data not recorded" for source in (facts.source, facts.champion_source))
    if facts.misnamed:
        return False, facts.misnamed
    if facts.champion is None:
        return True, f"learned from {mine}; {facts.why_not_compared}"
    if not facts.source or facts.source != facts.champion_source:
        return False, f"the candidate learned from {mine}, the champion from {theirs}; expected the same"
    return True, f"both learned from {mine}"


def _data(facts: Facts, limits: Limits) -> tuple[bool, str]:
    scored = f"scored on test set {facts.digest[:12]}"
    allowed = not limits.same_data
    asked = " (not demanded: same_data=false)" if allowed else ""
    if facts.trained_digest != facts.digest:
        return allowed, f"{scored}, but the candidate was trained on {facts.trained_digest[:12]}{asked}"
    seen = [said for said in (facts.seen, facts.versus.seen if facts.versus else "") if said]
    if seen:
        return allowed, f"{scored}; {'; '.join(seen)}{asked}"
    if facts.versus is None:
        return True, f"{scored}, whose training split the candidate learned from"
    return True, f"both {scored}, whose patients neither has seen"


def _latency(facts: Facts, limits: Limits) -> tuple[bool, str]:
    return _at_most(facts.latency_ms, limits.max_latency_ms, "ms for one slice", "max_latency_ms")


def _size(facts: Facts, limits: Limits) -> tuple[bool, str]:
    return _at_most(facts.size_mb, limits.max_size_mb, "MB", "max_size_mb")


def _at_most(value: float, limit: float, unit: str, option: str) -> tuple[bool, str]:
    return value <= limit, f"{value:.1f} {unit}, expected at most {limit:g} ({option}=)"


def _signature(facts: Facts, limits: Limits) -> tuple[bool, str]:
    return not facts.signature, facts.signature or "its inputs and outputs are as expected"


def _registry(facts: Facts, limits: Limits) -> tuple[bool, str]:
    return not facts.registration, facts.registration or "not registered as champion yet"


def _serving(facts: Facts, limits: Limits) -> tuple[bool, str]:
    if facts.smoke is None:
        return True, "not tried"
    return not facts.smoke, facts.smoke or "the scoring server answers a DICOM file as the offline model does"


#: In the order in which they are told; the first is what a promotion is told by.
_GATES: dict[str, Callable[[Facts, Limits], tuple[bool, str]]] = {
    "AUC": mean_auc,
    "null models": null_models,
    "labels": labels,
    "any": auc_of_any,
    "exams": auc_of_exams,
    "calibration": calibration,
    "Brier skill": brier_skill,
    "champion": _champion,
    "source": _source,
    "home": home,
    "data": _data,
    "latency": _latency,
    "size": _size,
    "signature": _signature,
    "registry": _registry,
    "serving": _serving,
}
