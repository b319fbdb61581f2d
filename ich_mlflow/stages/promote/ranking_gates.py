"""Gates about AUC: the mean and each label, any and exams, what doesn't look at the image, and the champion's home.

Each gives whether it is passed, and what was found in words.
"""

import math
from collections.abc import Mapping

from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.labels import ANY
from ich_mlflow.stages.promote.facts import BETTER, Compared, Facts, Limits, OverNullModel, Versus


def mean_auc(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """The paired interval of the mean AUC lies above the champion's, or above that less the margin."""
    if facts.macro_auc is None or not math.isfinite(facts.macro_auc):
        return False, f"the mean AUC is not estimable on test set {facts.digest[:12]}: too few patients"
    if facts.versus is None:
        return True, f"mean AUC {facts.macro_auc:.4f} of {facts.unit}; {facts.why_not_compared}"
    if facts.versus.same_networks:
        return _recalibrated(facts.versus, limits)
    auc = facts.versus.auc
    if auc is None:
        return False, f"no label is estimable for both {facts.candidate} and {facts.champion}"
    said = f"mean AUC {auc.candidate:.4f} against {auc.other:.4f}, difference {auc.difference:+.4f}"
    if not auc.is_told:
        return False, f"{said}; its interval can't be told: too few patients with or without any label"
    bound = 0.0 if limits.require == BETTER else -limits.margin
    wanted = "above 0 (better)" if limits.require == BETTER else f"above {bound:g} (not worse)"
    return auc.low > bound, f"{said}{_without(auc)} {_interval(auc)}; expected all of it {wanted}"


def _recalibrated(versus: Versus, limits: Limits) -> tuple[bool, str]:
    """The same networks put exams in the same order: what can be better is what the probabilities mean."""
    said = "the networks are the champion's, so the AUC is the same"
    if limits.require != BETTER:
        return True, said
    skill = versus.skill.get(f"{ANY} of {EXAMS}")
    if skill is None or not skill.is_told:
        return (
            False,
            f"{said}; the Brier skill of any of exams can't be told, expected all of it above 0 (better)",
        )
    return skill.low > 0, (
        f"{said}; Brier skill of any of exams {skill.candidate:.4f} against {skill.other:.4f}, difference "
        f"{skill.difference:+.4f} {_interval(skill)}; expected all of it above 0 (better)"
    )


def null_models(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """Who has no champion to beat must beat what doesn't look at the image, by the whole paired interval."""
    if facts.versus is not None:
        return True, "asked only of a first champion; this candidate has a champion to beat"
    unknown = f"{_too_few(facts.over_null_models)}{_not_estimable(facts.not_estimable)}"
    failed = [said for one in facts.over_null_models if (said := _not_above(one))]
    if failed:
        return False, f"expected all of each interval above 0: {', '.join(failed)}{unknown}"
    if not facts.over_null_models:
        return False, f"there is no null model to compare with{unknown}"
    told = [one for one in facts.over_null_models if one.compared is not None]
    closest = min(told, key=lambda one: one.compared.low if one.compared else math.inf)
    return True, f"above each of {len(told)}; the closest is {_over(closest)}{unknown}"


def labels(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """No subtype's AUC is lower than the champion's by more than the margin."""
    unknown = _not_estimable(facts.not_estimable)
    if facts.versus is None:
        return True, f"{facts.why_not_compared}{unknown}"
    if not facts.versus.labels:
        return False, f"no label is estimable{unknown}"
    passed, said = _not_lower(facts.versus.labels, limits.label_margin)
    return passed, f"{said}{unknown}"


def auc_of_any(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """AUC of any, of slices and of exams: what a worklist goes by."""
    if facts.versus is None:
        return True, facts.why_not_compared
    if not facts.versus.any_auc:
        return False, f"the AUC of any is not estimable{_not_estimable(facts.not_estimable)}"
    return _not_lower(facts.versus.any_auc, limits.label_margin, by_interval=True)


def auc_of_exams(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """The mean AUC of exams, where that of slices decides."""
    if facts.versus is None:
        return True, facts.why_not_compared
    if facts.unit == EXAMS:
        return True, "labels are of exams alone: AUC has compared them"
    if facts.versus.exam_auc is None:
        return True, f"the mean AUC is not estimable{_not_estimable(facts.not_estimable)}"
    return _not_lower({"mean": facts.versus.exam_auc}, limits.label_margin, by_interval=True)


def home(facts: Facts, limits: Limits) -> tuple[bool, str]:
    """AUC of any and the mean on the champion's own test set, where it is not the one that all else is scored on."""
    if facts.versus is None:
        return True, facts.why_not_compared
    found = facts.versus.home
    if found.why_not:
        return True, found.why_not
    where = f"on the champion's own test set {found.digest[:12]}"
    allowed = not limits.same_data
    if found.seen and not allowed:
        return False, f"{where}: {found.seen}"
    asked = f" ({found.seen}; not demanded: same_data=false)" if found.seen else ""
    if not found.aucs:
        return True, f"{where} neither any nor the mean is estimable{asked}"
    passed, said = _not_lower(found.aucs, limits.label_margin)
    figures = ", ".join(_figures(name, one) for name, one in found.aucs.items())
    return passed, f"{where}: {figures if passed else said}{asked}"


def _not_lower(aucs: Mapping[str, Compared], margin: float, *, by_interval: bool = False) -> tuple[bool, str]:
    """Whether none is lower by more than the margin and, by interval, none is surely lower; and in words."""
    lower = [_figures(name, one) for name, one in aucs.items() if not one.difference >= -margin]
    if lower:
        return False, f"AUC lower by more than {margin:g}: {', '.join(lower)}"
    surely = [_figures(name, one) for name, one in aucs.items() if one.is_told and one.high < 0]
    if by_interval and surely:
        return False, f"AUC lower by all of the interval: {', '.join(surely)}"
    if by_interval:
        figures = ", ".join(_figures(name, one) for name, one in aucs.items())
        return True, f"AUC {figures}; at most -{margin:g}, not all of it below 0"
    lowest = min(aucs, key=lambda name: aucs[name].difference)
    if aucs[lowest].difference >= 0:
        return True, f"no label's AUC is lower (at most -{margin:g})"
    return (
        True,
        f"the largest step back is {lowest}, {aucs[lowest].difference:+.4f} AUC (at most -{margin:g})",
    )


def _figures(name: str, one: Compared) -> str:
    """`epidural 0.9000 against 0.8800 (+0.0200)`, with the interval where there is one."""
    interval = f", {one.low:+.4f} to {one.high:+.4f}" if one.is_told else ""
    return (
        f"{name} {one.candidate:.4f} against {one.other:.4f} ({one.difference:+.4f}{interval}){_without(one)}"
    )


def _not_above(one: OverNullModel) -> str:
    """'' where the candidate beats the null model by the whole interval, else what was found."""
    if one.compared is None:
        return f"{one.of} is not estimable"
    if not one.compared.is_told:
        return f"{_over(one)}, whose interval can't be told: too few patients with or without"
    return "" if one.compared.low > 0 else _over(one)


def _over(one: OverNullModel) -> str:
    assert one.compared is not None
    return f"{_figures(one.of, one.compared)} of {one.null_model} alone"


def _interval(one: Compared) -> str:
    return f"({one.low:+.4f} to {one.high:+.4f})"


def _without(one: Compared) -> str:
    return f" without {', '.join(one.without)} (too few patients)" if one.without else ""


def _too_few(compared: tuple[OverNullModel, ...]) -> str:
    """Which labels the means are without, each mean once."""
    left_out = {one.of: one.compared.without for one in compared if one.compared and one.compared.without}
    said = [f"{of} is without {', '.join(labels)} (too few patients)" for of, labels in left_out.items()]
    return f"; {', '.join(said)}" if said else ""


def _not_estimable(names: tuple[str, ...]) -> str:
    return f"; not estimable: {', '.join(names)}" if names else ""
