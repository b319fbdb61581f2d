"""What a reader wants to know first of an evaluation: is the model good, for what, and how sure is that."""

import math

from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.system.counting import counted

_AUC_OF_ANY = f"auc/{ANY}"


def answers(slices: Assessment | None, exams: Assessment, *, rule: str) -> list[str]:
    """Sentences: how well any bleed is told, which subtypes are, and what the decisions on exams are worth.

    slices is None where labels are of whole studies. rule: that the decisions go by.
    """
    units = [one for one in (exams, slices) if one is not None]
    found = [_any_bleed(one) for one in units]
    return [*found, _subtypes(slices or exams), _decisions(exams, rule)]


def _any_bleed(assessment: Assessment) -> str:
    """AUC of any bleed, on how many, and whether that is more than a predictor has that doesn't look at the image."""
    predictions = assessment.predictions
    unit, has = predictions.unit, predictions.targets[:, predictions.labels.index(ANY)]
    among = f"{int(has.sum()):,} with and {int((~has).sum()):,} without a bleed"
    if _AUC_OF_ANY not in assessment.values:
        return f"How well the model tells {unit} with a bleed from those without can't be said: there are {among}."
    value, interval = assessment.values[_AUC_OF_ANY], assessment.interval(_AUC_OF_ANY)
    said = with_interval(value, interval.low, interval.high)
    return f"Over {unit}, {among}, any bleed has an AUC of {said}. {_against_null(assessment, value, interval.low)}"


def _against_null(assessment: Assessment, value: float, low: float) -> str:
    name = list(assessment.null_models)[-1]
    null = next(one["auc"] for one in assessment.null_models[name].per_label if one.label == ANY)
    beside = f"{shown(null)}, which the {name} alone reaches without a look at the image"
    if value <= null:
        return f"That is no better than {beside}."
    if math.isnan(low):
        return f"That is more than {beside}, but there are too few patients to say how sure it is."
    if low > null:
        return f"The whole interval lies above {beside}."
    return f"Whether that is more than {beside}, is open: the interval holds it."


def _subtypes(assessment: Assessment) -> str:
    """Which subtypes are told better than by chance, of which that is open, and of which nothing can be said."""
    told: list[str] = []
    unclear: list[str] = []
    few: list[str] = []
    for one in assessment.metrics.of_subtypes:
        name = f"auc/{one.label}"
        patients = one.num_positive_patients or 0
        if not assessment.has_interval(name):
            few.append(f"{one.label} ({counted(patients, 'patient')})")
            continue
        said = f"{one.label} ({shown(assessment.values[name])}, {counted(patients, 'patient')})"
        (told if assessment.interval(name).low > 0.5 else unclear).append(said)
    parts = [
        f"{text} {', '.join(which)}"
        for text, which in (
            ("told better than by chance:", told), ("open, since the interval holds chance:", unclear),
            ("too few patients to say:", few),
        )
        if which
    ]  # fmt: skip
    return f"Subtypes, by their AUC of {assessment.predictions.unit}: {'; '.join(parts)}."


def _decisions(exams: Assessment, rule: str) -> str:
    """Of how many exams the decision on any bleed is right; of few patients with exact intervals."""
    predictions = exams.predictions
    place = predictions.labels.index(ANY)
    has, decided = predictions.targets[:, place], predictions.decisions[:, place]
    parts = []
    for text, metric, right, of in (
        ("finds {} exams with a bleed", "sensitivity", decided & has, has),
        ("clears {} exams without", "specificity", ~decided & ~has, ~has),
    ):
        number, count = int(of.sum()), int(right.sum())
        if number:
            share = count / number
            name = f"{metric}/{ANY}"
            interval = exams.interval(name) if exams.has_interval(name) else clopper_pearson(share, number)
            said = f"{count:,} of {number:,}"
            parts.append(
                f"{text.format(said)} ({100 * share:.0f} %, {100 * interval.low:.0f} to {100 * interval.high:.0f})"
            )
    return f"By its operating point {rule} the model {' and '.join(parts)}."
