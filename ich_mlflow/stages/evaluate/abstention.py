"""What abstaining costs and keeps on the test exams: logged, and in words beside its promise."""

from ich_mlflow.evaluation.abstention import Abstention, Called, called, percent
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.report.contents import Section, Table
from ich_mlflow.stages.common.results import EXAM_PREFIX
from ich_mlflow.stages.common.scoring import Scored
from ich_mlflow.tracking.run import Run

TITLE = "Abstention"
_NEVER = "This version was packed without abstention: no exam is ever uncertain."


def called_of(scored: Scored) -> tuple[Abstention, Called] | None:
    """The version's rule, and what it calls the exams; None of a version without one."""
    rule, exams = scored.specification.abstention, scored.exams
    if rule is None:
        return None
    place = exams.labels.index(ANY)
    flagged = exams.probabilities[:, place] >= exams.thresholds[place]
    return rule, called(
        rule,
        bleeds=exams.targets[:, place],
        scores=exams.ranked_by[:, place],
        flagged=flagged,
        patients=exams.patients,
        distances=scored.distances,
    )


def log_abstention(run: Run, scored: Scored) -> None:
    """Log the share of uncertain exams, and of patients with a bleed that are called clear."""
    found = called_of(scored)
    if found is None:
        return
    _, exams = found
    missed, bleeding = exams.missed
    run.metrics({f"{EXAM_PREFIX}/uncertain_share": float(exams.uncertain.mean())})
    if bleeding:
        run.metrics({f"{EXAM_PREFIX}/bleeds_called_clear": missed / bleeding})


def abstention_table(rule: Abstention, exams: Called) -> Table:
    """How many exams with and without a bleed are called what, and what the promise came to."""
    bleeds = exams.bleeds
    rows = [
        [name, f"{int((which & bleeds).sum()):,}", f"{int((which & ~bleeds).sum()):,}"]
        for name, which in (
            ("flagged", exams.flagged),
            ("uncertain", exams.uncertain),
            ("not flagged, so clear", exams.clear),
            ("unlike what the model learned from, flagged or not", exams.unlike),
        )
    ]
    return Table(
        title=TITLE,
        columns=["exams called", "with a bleed", "without"],
        rows=rows,
        note=" ".join(_said(rule, exams)),
    )


def _said(rule: Abstention, exams: Called) -> list[str]:
    found = []
    for (hits, total), text in (
        (exams.missed, f"of patients with a bleed are called clear; {_promised(rule)}."),
        (
            exams.among_clear,
            "of exams called clear have a bleed (the interval takes each exam as another patient's). This share "
            "depends on the prevalence of bleeds.",
        ),
    ):
        if total:
            interval = clopper_pearson(hits / total, total)
            found.append(
                f"{hits} of {total}, {with_interval(hits / total, interval.low, interval.high)}, {text}"
            )
    return found


def _promised(rule: Abstention) -> str:
    if rule.clear_below is None:
        return "nothing was promised"
    return (
        f"the promise was about {percent(rule.alpha)} at most, on average over validation cohorts, for patients "
        f"like the {rule.bleeding_patients} with a bleed on whom the rule was chosen"
    )


def abstention_section(scored: Scored) -> Section:
    """The section of the report."""
    found = called_of(scored)
    if found is None:
        return Section(anchor="abstention", title=TITLE, paragraphs=[_NEVER])
    rule, exams = found
    return Section(
        anchor="abstention",
        title=TITLE,
        paragraphs=[
            "An exam that is not flagged is uncertain where a bleed can't be excluded by its score, or where it is "
            "unlike what the model has learned from. docs/evaluation.md has both rules, and what they promise.",
            *rule.sentences,
        ],
        tables=[abstention_table(rule, exams)],
    )
