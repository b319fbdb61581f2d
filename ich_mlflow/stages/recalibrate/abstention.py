"""When exams are uncertain, chosen on the local exams where they are enough; what that would call each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ich_mlflow.evaluation.abstention import (
    DEFAULT_ALPHA,
    Abstention,
    Called,
    called,
    choose_abstention,
    least_patients,
    percent,
)
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.report.contents import Section, Table
from ich_mlflow.stages.recalibrate.local import Unit

_TITLE = "Abstention"


@dataclass(frozen=True, kw_only=True)
class Abstaining:
    """before, after: the version's rule, None where it had none, and the new version's. called_before, called_after:
    what the exams are called, each by a rule and decisions that its patient had no part in; None without a rule."""

    before: Abstention | None
    after: Abstention
    called_before: Called | None
    called_after: Called

    @property
    def said(self) -> str:
        """What changed, in a sentence."""
        missed, bleeding = self.called_after.missed
        share = float(self.called_after.uncertain.mean())
        return (
            f"Abstention: {share:.0%} of the local exams are uncertain, and of {bleeding} patients with a bleed "
            f"{missed} {'is' if missed == 1 else 'are'} called clear (each by what the others chose)."
        )


def abstaining(
    before: Abstention | None, unit: Unit, labels: Sequence[str], *, was: np.ndarray, now: np.ndarray
) -> Abstaining:
    """The rules before and after, of exams. was, now: whether each is flagged, bool [N], before and cross-fitted."""
    place = list(labels).index(ANY)
    bleeds, scores = unit.targets[:, place], unit.scores[:, place]
    distances = unit.distances
    alpha = DEFAULT_ALPHA if before is None else before.alpha

    def rule_of(which: np.ndarray) -> Abstention:
        local = choose_abstention(
            bleeds[which],
            scores[which],
            unit.patients[which],
            alpha=alpha,
            distances=None if distances is None else distances[which],
        )
        return local_or_own(before, local)

    def calls(rule: Abstention, flagged: np.ndarray, which: np.ndarray) -> Called:
        return called(
            rule,
            bleeds=bleeds[which],
            scores=scores[which],
            flagged=flagged[which],
            patients=unit.patients[which],
            distances=None if distances is None else distances[which],
        )

    everyone = np.ones(len(bleeds), bool)
    # One patient at a time, and no fold: with 20 who have a bleed a fold of two would leave too few for the promise.
    held_out = [unit.patients == one for one in np.unique(unit.patients)]
    return Abstaining(
        before=before,
        after=rule_of(everyone),
        called_before=None if before is None else calls(before, was, everyone),
        called_after=_together([calls(rule_of(~held), now, held) for held in held_out]),
    )


def local_or_own(own: Abstention | None, local: Abstention) -> Abstention:
    """The local rule, and where local patients are too few for its promise, the version's own part of it."""
    if own is None:
        return local
    if local.clear_below is None:
        local = replace(local, clear_below=own.clear_below, bleeding_patients=own.bleeding_patients)
    if local.far_from is None:
        local = replace(local, far_from=own.far_from, patients=own.patients)
    return local


def _together(parts: Sequence[Called]) -> Called:
    return Called(
        **{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Called)}
    )


def abstention_section(found: Abstaining) -> Section:
    """The section of the page."""
    rows = []
    for when, exams in (("before", found.called_before), ("after", found.called_after)):
        if exams is None:
            rows.append([when, "none: it was packed without", "", ""])
            continue
        cells = []
        for hits, total in (exams.missed, exams.among_clear):
            interval = clopper_pearson(hits / total, total) if total else None
            said = "" if interval is None else with_interval(hits / total, interval.low, interval.high)
            cells.append(f"{hits} of {total} {said}".strip())
        rows.append([when, f"{int(exams.uncertain.sum())} of {len(exams.uncertain)}", *cells])
    if not found.after.alpha:
        return Section(anchor="abstention", title=_TITLE, paragraphs=found.after.sentences)
    least = least_patients(found.after.alpha)
    return Section(
        anchor="abstention",
        title=_TITLE,
        paragraphs=[
            f"At most {percent(found.after.alpha)} of patients with a bleed are to be called clear. That takes {least} "
            f"local patients with a bleed; with fewer, and for the feature distance with fewer than {least} patients, "
            "the version's own rule stays, whose promise is of the patients that it was chosen on.",
            *found.after.sentences,
        ],
        tables=[
            Table(
                title="What exams are called",
                columns=["", "uncertain", "patients with a bleed called clear", "bleeds among the clear"],
                rows=rows,
                note="After: each exam by what the other patients chose. Exact 95 % intervals.",
            )
        ],
    )
