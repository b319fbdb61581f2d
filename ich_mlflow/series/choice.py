"""Which of the series of a study to take: one rule, by headers, and a policy for each who asks. Pure.

A study of the head may hold a localizer, the non-contrast scan by a soft and a bone kernel, thick and thin, reformats,
and the scan with contrast. Only the non-contrast scan is like what a model has learned from.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ich_mlflow.series.rules import (
    acquisitions_of,
    another_scan_text,
    first_number_of,
    is_another_scan,
    is_undecided,
    remarks_of,
    why_never,
)
from ich_mlflow.series.series import Series

#: The step from slice to slice that models have learned from: RSNA 2019's and CT-ICH's. Of several reconstructions the
#: one nearest to it is taken, since thin slices have other noise, and more of them more false alarms.
USUAL_STEP_MM = 5.0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What one who asks for a series wants.

    step_mm         of several the one nearest to it by the ratio; None: the thinnest
    takes_doubtful  whether less than a whole head, and contrast that only a doubtful word names, are taken where there
                    is nothing better
    """

    step_mm: float | None
    takes_doubtful: bool


#: A result is wanted of every study, and what is doubtful about it is said.
TO_SCORE = Policy(step_mm=USUAL_STEP_MM, takes_doubtful=True)
#: A data set to evaluate on has studies enough: what is doubtful is left out. Of CQ500 the thinnest.
TO_EVALUATE = Policy(step_mm=None, takes_doubtful=False)

#: Of the place of a series in `choose`'s list: why its pixels are no head's; '' where they may be.
Look = Callable[[int], str]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What became of the series of a study.

    chosen   their places, the best first
    usable   the places of all that may be taken, the best first
    why      of each series, why (not)
    remarks  what a reader of the study's result should know
    """

    chosen: tuple[int, ...]
    usable: tuple[int, ...]
    why: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesChoice:
    """What became of one series of a study of a data set.

    study, series   the study's name, and the folder of the series from the source's folder
    step_mm         the usual distance from slice to slice; nan of a single slice
    chosen, why     whether its slices are the study's, and why or why not
    """

    study: str
    series: str
    step_mm: float
    num_slices: int
    chosen: bool
    why: str


def choose(
    series: Sequence[Series], policy: Policy, *, every: bool = False, look: Look | None = None
) -> Choice:
    """The series to take, with what became of each. every: all that may be taken, not the best alone.

    Never: what rules.why_never names, and what looks like no head where headers don't say. Only where there is nothing
    better, in this order: what can't be read by its headers, less than a whole head (never, if doubtful is not taken),
    bone kernels, doubtful contrast, repeated scans, what was computed from others. Of the rest by the policy's step; of
    equal ones that with more slices, then with the lower number, then by name.
    """
    why = [why_never(one, takes_doubtful=policy.takes_doubtful) for one in series]
    for place, one in enumerate(series):
        if not why[place] and not policy.takes_doubtful:
            why[place] = one.why_short
        if not why[place] and look is not None and is_undecided(one):
            seen = look(place)
            why[place] = f"another part of the body, by its pixels: {seen}" if seen else ""
    usable = sorted(
        (place for place, never in enumerate(why) if not never),
        key=lambda place: _rank(series[place], policy),
    )
    readable = [place for place in usable if not series[place].why_unreadable] or usable
    chosen = tuple(readable if every else readable[:1])
    for place in usable:
        why[place] = _why_usable(place, series, usable, policy, every=every)
    return Choice(
        chosen=chosen,
        usable=tuple(usable),
        why=tuple(why),
        remarks=tuple(_remarks([series[k] for k in chosen], [series[k] for k in usable], series, policy)),
    )


def _faults(series: Series) -> tuple[bool, ...]:
    """What makes it less wanted, the worst first."""
    return (
        bool(series.why_unreadable),
        bool(series.why_short),
        series.is_bone,
        bool(series.contrast[0]),
        series.is_repeat,
        series.is_derived,
    )


def _rank(series: Series, policy: Policy) -> tuple[object, ...]:
    step = series.step_mm
    known = step > 0
    distance = (
        abs(math.log(step / policy.step_mm)) if policy.step_mm and known else step if known else math.inf
    )
    header = series.header
    return (
        _faults(series), round(distance, 3), -len(series.headers), header.series_number, series.folder,
        header.series_uid,
    )  # fmt: skip


def _comes_before(one: Series, other: Series, policy: Policy) -> bool:
    """Whether it would be taken, if it could be read."""
    faults = _faults(one)[1:], _faults(other)[1:]
    return faults[0] < faults[1] or (
        faults[0] == faults[1] and _rank(one, policy)[1:] < _rank(other, policy)[1:]
    )


def _why_usable(
    place: int, series: Sequence[Series], usable: Sequence[int], policy: Policy, *, every: bool
) -> str:
    one, best = series[place], series[usable[0]]
    faults = [f"{one.why_short}"] if one.why_short else ["bone kernel"] if one.is_bone else []
    if one.why_unreadable and not best.why_unreadable:
        return f"it can't be read: {one.why_unreadable}"
    if every or place == usable[0]:
        said = (
            "non-contrast head CT" if every else "the only one" if len(usable) == 1 else "the best of several"
        )
        return f"{said} ({faults[0]})" if faults else said
    if one.why_short and not best.why_short:
        return f"too short, and there is a whole one ({one.why_short})"
    if one.is_bone and not best.is_bone:
        return "bone kernel, and there is another"
    if one.contrast[0] and not best.contrast[0]:
        return f"perhaps contrast, by {one.contrast[1]}, and there is another"
    if one.is_repeat and not best.is_repeat:
        return "another scan of the same series is scored"
    if one.is_derived and not best.is_derived:
        return "computed from other images, and there is an original"
    if policy.step_mm is None:
        return "there is a thinner one" if one.step_mm > best.step_mm else "another as thin comes before it"
    return f"another is nearer to {policy.step_mm:g} mm from slice to slice, or has more"


def _remarks(
    chosen: Sequence[Series], usable: Sequence[Series], series: Sequence[Series], policy: Policy
) -> list[str]:
    """What makes a study without a finding no study without a bleed. Of several reconstructions the best one counts."""
    if not chosen:
        return []
    found = remarks_alone(chosen[0], series)
    others = [one for one in usable if not any(one is other for other in chosen)]
    lost = [
        one
        for one in others
        if one.why_unreadable
        and not chosen[0].why_unreadable
        and (_comes_before(one, chosen[0], policy) or is_another_scan(one, chosen[0]))
    ]
    if lost:
        found.append(f"another series of the head can't be read: {lost[0].why_unreadable}")
    others = [one for one in others if not any(one is other for other in lost)]
    said = another_scan_text([one for one in others if is_another_scan(one, chosen[0])])
    return [*found, said] if said else found


def remarks_alone(one: Series, series: Sequence[Series]) -> list[str]:
    """What is to be known of a series of a study, whatever becomes of the others. series: all of the study."""
    mine = acquisitions_of(one)
    headers = [header for other in series for header in other.headers]
    of_acquisition = [header for header in headers if not mine or header.acquisition in mine]
    found = remarks_of(
        one,
        first_number=first_number_of(one.header.series_uid, headers),
        num_of_acquisition=len(of_acquisition),
    )
    patients = {header.patient_id for header in headers}
    return [*found, f"its images bear {len(patients)} different PatientIDs"] if len(patients) > 1 else found
