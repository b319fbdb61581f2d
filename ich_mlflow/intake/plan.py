"""Which series of each study is the plain head CT, and why the others are not. Pure: headers in, a plan out."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.survey import Image
from ich_mlflow.sources.series_choice import (
    MAX_TILT_DEGREES,
    Series,
    why_no_plain_scan,
    why_too_short,
)

#: The step from slice to slice that models have learned from: RSNA 2019's and CT-ICH's. Of several reconstructions the
#: one nearest to it is taken, since thin slices have other noise, and more of them more false alarms.
USUAL_STEP_MM = 5.0
#: Neck and head are 400 mm high at most; what covers more is a scan of the body.
MAX_COVERAGE_MM = 400.0
#: Head CT of RSNA 2019 has up to 500 mm (shared/rsna.md: 0.977 mm a pixel); extended fields of view are of bodies.
MAX_FIELD_OF_VIEW_MM = 520.0

_HEAD_WORDS = re.compile(
    r"head|brain|skull|crani|cereb|neuro|kopf|sch[aä]del|hirn|t[eê]te|cabe[zc]a|cr[aâ]ne"
)
_OTHER_WORDS = re.compile(
    r"\b(chest|thora\w*|lungs?|abd\w*|pelv\w*|spine|c-?spine|lumbar|cervical|neck|cardiac|heart|knee|hip|shoulder|"
    r"ankle|wrist|elbow|foot|hand|extremit\w*|kub|cap|tap)\b"
)
_HEAD_PARTS = ("HEAD", "BRAIN", "SKULL", "CRANIUM", "CEREB", "NEURO")
_DERIVED = re.compile(
    r"(?<![A-Z])(?:MIP|MINIP|MAX_IP|MIN_IP|PROJECTION IMAGE|PERFUSION|CBF|CBV|MTT|TMAX|RGB|VRT|3D)(?![A-Z])"
)

ONE, ALL = "one", "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesRow:
    """What became of a series. number: SeriesNumber. step_mm: nan where not known. why: a few words."""

    patient_id: str
    study_uid: str
    series_uid: str
    number: int
    description: str
    num_slices: int
    step_mm: float
    chosen: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class PlannedSeries:
    """A series to be scored.

    key        tells it apart, and changes with its files: hexadecimal
    files      of its slices, from the neck up; without positions in the order of InstanceNumber
    sop_uids, positions_mm  of the same; nan where not known
    remarks    what a reader of the result should know, as that it is short
    """

    key: str
    patient_id: str
    study_uid: str
    study_date: str
    series_uid: str
    description: str
    files: tuple[InputFile, ...]
    sop_uids: tuple[str, ...]
    positions_mm: tuple[float, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study of the input. number: from 1 in the order of the input's files. series: those to be scored, often one."""

    number: int
    patient_id: str
    study_uid: str
    study_date: str
    series: tuple[PlannedSeries, ...]
    rows: tuple[SeriesRow, ...]


#: Whether images of a series look like no head, asked of those whose headers don't say what they are of.
Look = Callable[[Sequence[Image]], bool]


def plan(
    studies: Mapping[tuple[str, str], Sequence[Image]],
    *,
    series: str = ONE,
    look: Look = lambda images: False,
) -> list[Study]:
    """Choose in every study. series: `one` a study, or `all` that are plain head CT, reconstructions included."""
    found = []
    for number, ((patient_id, study_uid), images) in enumerate(studies.items(), start=1):
        chosen, rows = choose(images, every=series == ALL, look=look)
        found.append(
            Study(
                number=number,
                patient_id=patient_id,
                study_uid=study_uid,
                study_date=next((one.header.study_date for one in images if one.header.study_date), ""),
                series=tuple(chosen),
                rows=tuple(rows),
            )
        )
    return found


def choose(
    images: Sequence[Image], *, every: bool = False, look: Look = lambda images: False
) -> tuple[list[PlannedSeries], list[SeriesRow]]:
    """The series of a study to score, and of each series what became of it.

    Never: localizers, what is tilted by more than 45 degrees, contrast, another part of the body, projections and maps,
    several images at one position. Only where there is nothing better: less than a whole head, bone kernels. Of the
    rest the one with the step nearest to 5 mm, of equal ones the one with more slices, then with the lower number.
    Those whose headers don't say head are looked at.
    """
    groups = _groups(images)
    never = [_why_never(group) for group in groups]
    for number, group in enumerate(groups):
        if not never[number] and not _says_head(group[0].header) and look(group):
            never[number] = "another part of the body, by its pixels: there are lungs"
    short = [why_too_short(_series(group)) for group in groups]
    bone = [_series(group).is_bone for group in groups]
    usable = [number for number, why in enumerate(never) if not why]
    best = min((_worse(short[n], bone[n]) for n in usable), default=0)
    first = [number for number in usable if _worse(short[number], bone[number]) == best]
    winner = min(first, key=lambda number: _rank(groups[number]), default=None)
    chosen = usable if every else [] if winner is None else [winner]
    rows = []
    for number, group in enumerate(groups):
        if number in chosen:
            why = "plain head CT" if every else "the only one" if len(usable) == 1 else "the best of several"
            why += f" ({short[number]})" if short[number] else " (bone kernel)" if bone[number] else ""
        else:
            why = never[number] or _why_not_first(short[number], bone[number], best)
        rows.append(_row(group, chosen=number in chosen, why=why))
    planned = [_planned(groups[number], short[number], bone[number]) for number in chosen]
    return planned, rows


def _groups(images: Iterable[Image]) -> list[list[Image]]:
    """By series; localizers and what is not axial may stand in the series of the scan, and are groups of their own."""
    found: dict[tuple[str, bool, bool], list[Image]] = {}
    for image in images:
        header = image.header
        key = (header.series_uid, header.is_localizer, header.tilt_degrees > MAX_TILT_DEGREES)
        found.setdefault(key, []).append(image)
    return [sorted(group, key=_place) for group in found.values()]


def _place(image: Image) -> tuple[float, int, str]:
    header = image.header
    position = header.position_mm if math.isfinite(header.position_mm) else 0.0
    return position, header.instance_number, image.file.name


def _series(group: Sequence[Image]) -> Series:
    """As the rules for one series of many take it; folders' names may be anything, and don't count."""
    return Series(study="", folder="", headers=tuple(image.header for image in group))


def _worse(short: str, bone: bool) -> int:
    return 2 * bool(short) + bone


def _rank(group: Sequence[Image]) -> tuple[float, int, int, str]:
    step = _series(group).step_mm
    distance = abs(math.log(step / USUAL_STEP_MM)) if step > 0 else math.inf
    return round(distance, 3), -len(group), group[0].header.series_number, group[0].header.series_uid


def _why_never(group: Sequence[Image]) -> str:
    if all(image.header.is_localizer for image in group):
        return "localizer"
    series = _series(group)
    # What part of the body it is comes first: the C of C-spine is no contrast.
    return _why_no_head(group, series) or why_no_plain_scan(series) or _why_derived(group)


def _why_derived(group: Sequence[Image]) -> str:
    """Projections, volume renderings and maps hold no Hounsfield units of a plane."""
    derived = sum(bool(_DERIVED.search(image.header.image_type)) for image in group)
    return "a projection or map, by ImageType" if derived > len(group) / 2 else ""


def _says_head(header: ImageHeader) -> bool:
    return any(part in header.body_part for part in _HEAD_PARTS) or bool(
        _HEAD_WORDS.search(header.description.lower())
    )


def _why_no_head(group: Sequence[Image], series: Series) -> str:
    header = group[0].header
    said = f"{header.description} {header.study_description}".lower()
    # The series' own words count before its study's: a study of head and chest holds series of both.
    own = header.description.lower()
    if header.body_part and not any(part in header.body_part for part in _HEAD_PARTS):
        if not _HEAD_WORDS.search(own):
            return "another part of the body, by BodyPartExamined"
    elif _OTHER_WORDS.search(own) and not _HEAD_WORDS.search(own):
        return "another part of the body, by its description"
    elif not header.body_part and _OTHER_WORDS.search(said) and not _HEAD_WORDS.search(said):
        return "another part of the body, by the study's description"
    if series.coverage_mm > MAX_COVERAGE_MM:
        return f"it covers {series.coverage_mm:.0f} mm of the body, expected {MAX_COVERAGE_MM:.0f} at most"
    view = float(np.median([max(image.header.field_of_view_mm) for image in group]))
    if view > MAX_FIELD_OF_VIEW_MM:
        return f"its field of view is {view:.0f} mm, expected {MAX_FIELD_OF_VIEW_MM:.0f} at most"
    return ""


def _why_not_first(short: str, bone: bool, best: int) -> str:
    if short and best < 2:
        return f"too short, and there is a whole one ({short})"
    if bone and not best % 2:
        return "bone kernel, and there is another"
    return "another is nearer to 5 mm from slice to slice, or has more"


def _row(group: Sequence[Image], *, chosen: bool, why: str) -> SeriesRow:
    header = group[0].header
    return SeriesRow(
        patient_id=header.patient_id,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        number=header.series_number,
        description=header.description,
        num_slices=len(group),
        step_mm=_series(group).step_mm if len(group) > 1 else float("nan"),
        chosen=chosen,
        why=why,
    )


def _planned(group: Sequence[Image], short: str, bone: bool) -> PlannedSeries:
    header = group[0].header
    remarks = [f"less than a whole head: {short}"] if short else []
    remarks += ["bone kernel: there was no other"] if bone else []
    if not all(math.isfinite(image.header.position_mm) for image in group):
        remarks.append("slices without a position: in the order of InstanceNumber")
    return PlannedSeries(
        key=_key(group),
        patient_id=header.patient_id,
        study_uid=header.study_uid or header.series_uid,
        study_date=header.study_date,
        series_uid=header.series_uid,
        description=header.description,
        files=tuple(image.file for image in group),
        sop_uids=tuple(image.header.sop_uid for image in group),
        positions_mm=tuple(image.header.position_mm for image in group),
        remarks=tuple(remarks),
    )


def _key(group: Sequence[Image]) -> str:
    parts = [f"{image.file.name}\0{image.file.num_bytes}\0{image.header.sop_uid}" for image in group]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
