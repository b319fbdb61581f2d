"""Which series of each study is the non-contrast head CT, and why the others are not. Pure: headers in, a plan out."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.survey import Image
from ich_mlflow.series.choice import (
    MAX_TILT_DEGREES,
    Series,
    why_not_non_contrast,
    why_too_short,
)

#: The step from slice to slice that models have learned from: RSNA 2019's and CT-ICH's. Of several reconstructions the
#: one nearest to it is taken, since thin slices have other noise, and more of them more false alarms.
USUAL_STEP_MM = 5.0
#: Neck and head are 400 mm high at most; what covers more is a scan of the body.
MAX_COVERAGE_MM = 400.0
#: Head CT of RSNA 2019 has up to 500 mm (512 pixels of 0.977 mm); extended fields of view are of bodies.
MAX_FIELD_OF_VIEW_MM = 520.0
#: Another reconstruction may begin and end so much earlier or later.
_EDGE_MM = 10.0

_HEAD_WORDS = re.compile(
    r"head|brain|skull|crani|cereb|neuro|kopf|sch(?:ae|[aä])del|hirn|t[eê]te|cabe[zc]a|cr[aâ]ne|enc[eé]phal"
)
_OTHER_WORDS = re.compile(
    r"\b(chest|thora\w*|lungs?|abd\w*|pelv\w*|spine|c-?spine|lumbar|cervical|neck|cardiac|heart|knee|hip|shoulder|"
    r"ankle|wrist|elbow|foot|hand|extremit\w*|kub|cap|tap)\b"
)
#: Of BodyPartExamined, what says nothing.
_ANY_PART = ("", "other", "unknown", "trauma", "wholebody", "whole body", "body")
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
    remarks    what a reader of the study's result should know, as that it is short; the same for all its series
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
    """Choose in every study. series: `one` a study, or `all` that are non-contrast head CT, not the best alone."""
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

    Never: Enhanced CT, localizers, what is tilted by more than 45 degrees, contrast, another part of the body,
    projections and maps, several images at one position. Only where there is nothing better: less than a whole head,
    bone kernels. Of the rest the one with the step nearest to 5 mm, of equal ones the one with more slices, then with
    the lower number. Those whose headers don't say head are looked at.
    """
    groups = [_Group.of(images) for images in _groups(images)]
    never = [_why_never(group) for group in groups]
    for number, group in enumerate(groups):
        if not never[number] and not _says_head(group.images[0].header) and look(group.images):
            never[number] = "another part of the body, by its pixels: there are lungs"
    usable = [number for number, why in enumerate(never) if not why]
    best = min((groups[number].worse for number in usable), default=0)
    first = [number for number in usable if groups[number].worse == best]
    winner = min(first, key=lambda number: groups[number].rank, default=None)
    chosen = usable if every else [] if winner is None else [winner]
    rows = []
    for number, group in enumerate(groups):
        if number in chosen:
            why = (
                "non-contrast head CT"
                if every
                else "the only one"
                if len(usable) == 1
                else "the best of several"
            )
            why += f" ({group.short})" if group.short else " (bone kernel)" if group.bone else ""
        else:
            why = never[number] or _why_not_first(group, best)
        rows.append(_row(group, chosen=number in chosen, why=why))
    remarks = _remarks([groups[number] for number in chosen], [groups[number] for number in usable])
    return [_planned(groups[number], remarks) for number in chosen], rows


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The images of a series from below, and what the choice goes by. short: why it is no whole head; '' if it is."""

    images: tuple[Image, ...]
    series: Series
    short: str
    bone: bool

    @classmethod
    def of(cls, images: Sequence[Image]) -> "_Group":
        # As the rules for one series of many take it; folders' names may be anything, and don't count.
        series = Series(study="", folder="", headers=tuple(image.header for image in images))
        return cls(images=tuple(images), series=series, short=why_too_short(series), bone=series.is_bone)

    @property
    def worse(self) -> int:
        """0 for a whole head by a soft kernel; the higher, the less wanted."""
        return 2 * bool(self.short) + self.bone

    @property
    def rank(self) -> tuple[float, int, int, str]:
        step = self.series.step_mm
        distance = abs(math.log(step / USUAL_STEP_MM)) if step > 0 else math.inf
        header = self.images[0].header
        return round(distance, 3), -len(self.images), header.series_number, header.series_uid

    @property
    def acquisitions(self) -> set[str]:
        """Numbers of the scans that it was made from; empty where they are not said."""
        return {image.header.acquisition for image in self.images} - {""}

    @property
    def has_positions(self) -> bool:
        return all(math.isfinite(image.header.position_mm) for image in self.images)

    @property
    def num_gaps(self) -> int:
        """Steps of more than one and a half of the usual one around them: slices that are missing."""
        steps = np.diff(self.series.positions_mm)
        around = [np.median(steps[max(0, k - 2) : k + 3]) for k in range(len(steps))]
        return int(np.count_nonzero(steps > 1.5 * np.array(around))) if len(steps) > 2 else 0


def _remarks(chosen: Sequence[_Group], usable: Sequence[_Group]) -> list[str]:
    """What makes a study without a finding no study without a bleed. Of several reconstructions the best one counts."""
    if not chosen:
        return []
    best = min(chosen, key=lambda group: group.worse)
    found = [f"less than a whole head: {best.short}"] if best.short else []
    found += ["bone kernel: there was no other"] if best.bone else []
    if not best.has_positions:
        found.append("slices without a position: in the order of InstanceNumber")
    elif best.num_gaps:
        found.append(f"{best.num_gaps} gaps between its slices")
    others = [group for group in usable if not any(group is one for one in chosen)]
    if any(_is_another_scan(group, best) for group in others):
        found.append("another scan of the head is in the study and was not scored: series=all scores it")
    return found


def _is_another_scan(group: _Group, best: _Group) -> bool:
    """Whether it was scanned apart from the chosen one, or shows what that one does not. Reconstructions do neither."""
    if group.acquisitions and best.acquisitions and not group.acquisitions & best.acquisitions:
        return True
    mine, theirs = group.series.positions_mm, best.series.positions_mm
    if not len(mine) or not len(theirs):
        return False
    room = _EDGE_MM + (0 if math.isnan(best.series.step_mm) else best.series.step_mm)
    return bool(mine[0] < theirs[0] - room or mine[-1] > theirs[-1] + room)


def _groups(images: Iterable[Image]) -> list[list[Image]]:
    """By series; localizers and what is not axial may stand in the series of the scan, and are groups of their own."""
    found: dict[tuple[str, bool, bool, bool], list[Image]] = {}
    for image in images:
        header = image.header
        axial = not header.tilt_degrees > MAX_TILT_DEGREES
        key = (header.series_uid, header.is_localizer, axial, header.has_frames)
        found.setdefault(key, []).append(image)
    return [_in_order(group) for group in found.values()]


def _in_order(group: Sequence[Image]) -> list[Image]:
    """From below; by InstanceNumber where any lacks its position, which would tear its neighbours apart."""
    located = all(math.isfinite(image.header.position_mm) for image in group)

    def place(image: Image) -> tuple[float, int, str]:
        return image.header.position_mm if located else 0.0, image.header.instance_number, image.file.name

    return sorted(group, key=place)


def _why_never(group: _Group) -> str:
    if group.images[0].header.has_frames:
        return "Enhanced CT, which is not read: convert it to single CT images (dcm4che's emf2sf does)"
    if all(image.header.is_localizer for image in group.images):
        return "localizer"
    # What part of the body it is comes first: the C of C-spine is no contrast.
    return _why_no_head(group) or why_not_non_contrast(group.series) or _why_derived(group.images)


def _why_derived(group: Sequence[Image]) -> str:
    """Projections, volume renderings and maps hold no Hounsfield units of a plane."""
    derived = sum(bool(_DERIVED.search(image.header.image_type)) for image in group)
    return "a projection or map, by ImageType" if derived > len(group) / 2 else ""


def _says_head(header: ImageHeader) -> bool:
    return bool(_HEAD_WORDS.search(f"{header.body_part} {header.description}".lower()))


def _why_no_head(group: _Group) -> str:
    header = group.images[0].header
    # The series' own words count before its study's: a study of head and chest holds series of both.
    part, own = header.body_part.lower(), header.description.lower()
    if part not in _ANY_PART and not _HEAD_WORDS.search(part):
        if not _HEAD_WORDS.search(own):
            return "another part of the body, by BodyPartExamined"
    elif _OTHER_WORDS.search(own) and not _HEAD_WORDS.search(own):
        return "another part of the body, by its description"
    elif part in _ANY_PART and not _HEAD_WORDS.search(own):
        study = header.study_description.lower()
        if _OTHER_WORDS.search(study) and not _HEAD_WORDS.search(study):
            return "another part of the body, by the study's description"
    if group.series.coverage_mm > MAX_COVERAGE_MM:
        return (
            f"it covers {group.series.coverage_mm:.0f} mm of the body, expected {MAX_COVERAGE_MM:.0f} at most"
        )
    view = float(np.median([max(image.header.field_of_view_mm) for image in group.images]))
    if view > MAX_FIELD_OF_VIEW_MM:
        return f"its field of view is {view:.0f} mm, expected {MAX_FIELD_OF_VIEW_MM:.0f} at most"
    return ""


def _why_not_first(group: _Group, best: int) -> str:
    if group.short and best < 2:
        return f"too short, and there is a whole one ({group.short})"
    if group.bone and not best % 2:
        return "bone kernel, and there is another"
    return "another is nearer to 5 mm from slice to slice, or has more"


def _row(group: _Group, *, chosen: bool, why: str) -> SeriesRow:
    header = group.images[0].header
    return SeriesRow(
        patient_id=header.patient_id,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        number=header.series_number,
        description=header.description,
        num_slices=len(group.images),
        step_mm=group.series.step_mm if len(group.images) > 1 else float("nan"),
        chosen=chosen,
        why=why,
    )


def _planned(group: _Group, remarks: Sequence[str]) -> PlannedSeries:
    header = group.images[0].header
    return PlannedSeries(
        key=_key(group.images),
        patient_id=header.patient_id,
        study_uid=header.study_uid or header.series_uid,
        study_date=header.study_date,
        series_uid=header.series_uid,
        description=header.description,
        files=tuple(image.file for image in group.images),
        sop_uids=tuple(image.header.sop_uid for image in group.images),
        positions_mm=tuple(image.header.position_mm for image in group.images),
        remarks=tuple(remarks),
    )


def _key(group: Sequence[Image]) -> str:
    parts = [
        f"{image.file.name}\0{image.file.num_bytes}\0{image.file.stamp}\0{image.header.sop_uid}"
        for image in group
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
