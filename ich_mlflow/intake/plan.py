"""Which series of each study is the non-contrast head CT, and why the others are not. Pure: headers in, a plan out."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ich_mlflow.dicom.facts import NO_FACTS, HeaderFacts
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.survey import Image
from ich_mlflow.series import choice
from ich_mlflow.series.series import MAX_TILT_DEGREES, Series, scans_of

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
    place      of its row among the study's
    files      of its slices, from the neck up; without positions in the order of SliceLocation or InstanceNumber
    sop_uids, patient_ids, positions_mm  of the same; a position is nan where not known
    remarks    what a reader of the study's result should know, as that it is short; the same for all its series
    facts      how its first slice was taken and packed; step_mm, spacing_mm: nan where not known
    """

    key: str
    place: int = 0
    patient_id: str
    study_uid: str
    study_date: str
    series_uid: str
    description: str
    files: tuple[InputFile, ...]
    sop_uids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    positions_mm: tuple[float, ...]
    remarks: tuple[str, ...]
    facts: HeaderFacts = NO_FACTS
    step_mm: float = math.nan
    spacing_mm: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study of the input.

    number  from 1 in the order of the input's files
    series  those to be scored, often one
    spare   those to be scored instead if none of them can be read, the best first
    """

    number: int
    patient_id: str
    study_uid: str
    study_date: str
    series: tuple[PlannedSeries, ...]
    rows: tuple[SeriesRow, ...]
    spare: tuple[PlannedSeries, ...] = ()

    def instead(self, why: str) -> "Study":
        """The study with its first spare series in the place of the chosen ones, which can't be read: why."""
        given_up = {one.place for one in self.series}
        first, *spare = self.spare
        rows = tuple(
            replace(row, chosen=False, why=f"{row.why}, but it can't be read: {why}")
            if place in given_up
            else replace(row, chosen=True, why="the one before it can't be read")
            if place == first.place
            else row
            for place, row in enumerate(self.rows)
        )
        remark = f"the series that was chosen first can't be read: {why}"
        taken = replace(first, remarks=(*first.remarks, remark))
        return replace(
            self,
            series=(taken,),
            rows=rows,
            spare=tuple(replace(one, remarks=(*one.remarks, remark)) for one in spare),
        )


#: Of the images of a series from below, what their pixels say: '' where nothing is wrong.
Look = Callable[[Sequence[Image]], str]


def _unseen(images: Sequence[Image]) -> str:
    return ""


def plan(
    studies: Mapping[tuple[str, str], Sequence[Image]],
    *,
    series: str = ONE,
    look: Look = _unseen,
    ends: Look = _unseen,
) -> list[Study]:
    """Choose in every study. series: `one` a study, or `all` that are non-contrast head CT, not the best alone."""
    found = []
    for number, ((patient_id, study_uid), images) in enumerate(studies.items(), start=1):
        chosen, spare, rows = choose(images, every=series == ALL, look=look, ends=ends)
        found.append(
            Study(
                number=number,
                patient_id=patient_id,
                study_uid=study_uid,
                study_date=next((one.header.study_date for one in images if one.header.study_date), ""),
                series=tuple(chosen),
                rows=tuple(rows),
                spare=tuple(spare),
            )
        )
    return found


def choose(
    images: Sequence[Image], *, every: bool = False, look: Look = _unseen, ends: Look = _unseen
) -> tuple[list[PlannedSeries], list[PlannedSeries], list[SeriesRow]]:
    """The series of a study to score, those to score instead, and what became of each, by the rules of series.choice.

    every: all that may be scored. look: asked of those whose headers don't say that they are of a head. ends:
    asked of the best one, which end of the head it doesn't show.
    """
    scans = [scan for group in _groups(images) for scan in _scans(group)]
    every_series = [scan.series for scan in scans]
    found = choice.choose(
        every_series,
        choice.TO_SCORE,
        every=every,
        look=lambda place: look(scans[place].images),
    )
    rows = [
        _row(scan, chosen=place in found.chosen, why=why)
        for place, (scan, why) in enumerate(zip(scans, found.why, strict=True))
    ]
    cut = ends(scans[found.chosen[0]].images) if found.chosen else ""
    remarks = (*found.remarks, cut) if cut else found.remarks
    left = [place for place in found.usable if place not in found.chosen]
    spare_remarks = [(place, choice.remarks_alone(scans[place].series, every_series)) for place in left]
    return (
        [_planned(scans[place], place, remarks) for place in found.chosen],
        [_planned(scans[place], place, said) for place, said in spare_remarks],
        rows,
    )


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """The images of a scan from below, and what the choice goes by."""

    images: tuple[Image, ...]
    series: Series


def _groups(images: Iterable[Image]) -> list[list[Image]]:
    """By series; localizers and what is not axial may stand in the series of the scan, and are groups of their own."""
    found: dict[tuple[str, bool, bool, bool], list[Image]] = {}
    for image in images:
        header = image.header
        axial = not header.tilt_degrees > MAX_TILT_DEGREES
        key = (header.series_uid, header.is_localizer, axial, header.has_frames)
        found.setdefault(key, []).append(image)
    return list(found.values())


def _scans(group: Sequence[Image]) -> list[_Scan]:
    # Folders' names may be anything, and don't count.
    return [
        _Scan(images=tuple(group[k] for k in places), series=series)
        for series, places in scans_of([image.header for image in group])
    ]


def _row(scan: _Scan, *, chosen: bool, why: str) -> SeriesRow:
    header = scan.series.header
    return SeriesRow(
        patient_id=header.patient_id,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        number=header.series_number,
        description=header.description,
        num_slices=len(scan.images),
        step_mm=scan.series.step_mm,
        chosen=chosen,
        why=why,
    )


def _planned(scan: _Scan, place: int, remarks: Sequence[str]) -> PlannedSeries:
    header = scan.series.header
    return PlannedSeries(
        key=_key(scan.images),
        place=place,
        patient_id=header.patient_id,
        study_uid=header.study_uid or header.series_uid,
        study_date=header.study_date,
        series_uid=header.series_uid,
        description=header.description,
        files=tuple(image.file for image in scan.images),
        sop_uids=tuple(image.header.sop_uid for image in scan.images),
        patient_ids=tuple(image.header.patient_id for image in scan.images),
        positions_mm=tuple(one.position_mm for one in scan.series.headers),
        remarks=tuple(remarks),
        facts=header.facts,
        step_mm=scan.series.step_mm,
        spacing_mm=header.spacing_mm,
    )


def _key(group: Sequence[Image]) -> str:
    parts = [
        f"{image.file.name}\0{image.file.num_bytes}\0{image.file.stamp}\0{image.header.sop_uid}"
        for image in group
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
