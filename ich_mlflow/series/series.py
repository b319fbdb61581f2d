"""One series of a study, by its headers: what it is called, where its slices lie, how it was made. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from ich_mlflow.dicom.contrast import Contrast
from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.series import words
from ich_mlflow.series.passes import passes_of

MAX_TILT_DEGREES = 45.0
#: A head is about 150 mm high; a scan of a part of it is no scan of a head.
MIN_COVERAGE_MM = 100.0
MIN_SLICES = 16
#: A step that is so many times as long as those around it is a gap.
_GAP_STEPS = 1.5
BY_POSITION, BY_SLICE_LOCATION, BY_INSTANCE = "ImagePositionPatient", "SliceLocation", "InstanceNumber"


@dataclass(frozen=True, kw_only=True)
class Series:
    """The images of one scan in a series, from below. Made by scans_of.

    headers             one or more
    ordered_by          the tag that their order is by
    study, folder       names of the folders that it stands in, where they say anything
    is_named_by_folder  whether the folder's name is the series', and not its study's: that says nothing of contrast
    is_repeat           whether the series holds another scan, which is the one to take
    is_phases           whether most positions have several images
    """

    headers: tuple[ImageHeader, ...]
    ordered_by: str = BY_POSITION
    study: str = ""
    folder: str = ""
    is_named_by_folder: bool = False
    is_repeat: bool = False
    is_phases: bool = False

    @property
    def header(self) -> ImageHeader:
        return self.headers[0]

    @property
    def texts(self) -> tuple[str, str]:
        """What it is called: its folder's name ('' where it is the study's), its description."""
        name = PurePosixPath(self.folder).name if self.is_named_by_folder else ""
        return name, self.header.description

    @cached_property
    def positions_mm(self) -> np.ndarray:
        """The different positions, float64 [n], from the feet up; images without one left out."""
        return np.unique(
            np.round([one.position_mm for one in self.headers if math.isfinite(one.position_mm)], 2)
        )

    @cached_property
    def steps_mm(self) -> np.ndarray:
        """The distances from slice to slice, float64 [n - 1]."""
        return np.diff(self.positions_mm)

    @property
    def step_mm(self) -> float:
        """The usual distance from slice to slice, to 0.01 mm; nan of a single position."""
        return round(float(np.median(self.steps_mm)), 2) if len(self.steps_mm) else math.nan

    @cached_property
    def usual_steps_mm(self) -> np.ndarray:
        """Of each step the usual one around it, float64 [n - 1]: increments may change within a scan."""
        steps = self.steps_mm
        return np.array([np.median(steps[max(0, k - 2) : k + 3]) for k in range(len(steps))])

    @property
    def num_gaps(self) -> int:
        """Steps of more than one and a half of the usual one around them: slices that are missing."""
        if len(self.steps_mm) < 3:
            return 0
        return int(np.count_nonzero(self.steps_mm > _GAP_STEPS * self.usual_steps_mm))

    @property
    def coverage_mm(self) -> float:
        """How much of the body its slices show: the steps and half a one at each end, without gaps; nan of one."""
        if not len(self.steps_mm):
            return math.nan
        usual = self.usual_steps_mm
        steps = np.where(self.steps_mm > _GAP_STEPS * usual, usual, self.steps_mm)
        return float(steps.sum() + (steps[0] + steps[-1]) / 2)

    @property
    def is_bone(self) -> bool:
        """Whether it is named for bone, or its kernel is one of bone's."""
        return any(words.is_bone(text) for text in (*self.texts, self.header.kernel))

    @property
    def is_derived(self) -> bool:
        """Whether most of its images were computed from others."""
        return sum(one.image_type.startswith("DERIVED") for one in self.headers) > len(self.headers) / 2

    @property
    def why_unreadable(self) -> str:
        """Why none of its images can be read, by their headers; '' where one may be."""
        return self.header.why_unreadable if all(one.why_unreadable for one in self.headers) else ""

    @property
    def contrast(self) -> tuple[Contrast, str]:
        """How surely it was made with contrast agent, and what says so: `its name`, or a tag's keyword."""
        named = max(map(words.contrast_of, self.texts))
        tags = max((one.contrast for one in self.headers), key=lambda one: one.contrast)
        return (named, "its name") if named >= tags.contrast else (tags.contrast, tags.keyword)

    @property
    def why_short(self) -> str:
        """Why it is no scan of a whole head, by what it covers; '' where it may be."""
        num_slices, coverage = len(self.headers), self.coverage_mm
        if num_slices >= MIN_SLICES and coverage >= MIN_COVERAGE_MM:
            return ""
        expected = f"expected {MIN_SLICES} and {MIN_COVERAGE_MM:.0f} mm"
        if num_slices == 1:
            return f"a single slice, {expected}"
        if math.isnan(coverage):
            return f"{num_slices} slices whose positions are not known, {expected}"
        return f"{num_slices} slices of {coverage:.0f} mm together, {expected}"


def in_order(headers: Sequence[ImageHeader]) -> tuple[tuple[int, ...], tuple[ImageHeader, ...], str]:
    """The images of a series from below: their places in `headers`, themselves, and the tag that the order is by.

    By ImagePositionPatient; where any lacks it or all have the same, by SliceLocation, if all have one and not the
    same, which then stands in position_mm; otherwise by InstanceNumber, and positions are not known.
    """
    numbered = list(enumerate(headers))
    by, placed = BY_INSTANCE, [replace(one, position_mm=math.nan) for one in headers]
    positions = [one.position_mm for one in headers]
    locations = [one.slice_location_mm for one in headers]
    # All at one place and nothing better: several images of it, as of a phase each.
    if _tell_apart(positions) or (all(map(math.isfinite, positions)) and not _tell_apart(locations)):
        by, placed = BY_POSITION, list(headers)
    elif _tell_apart(locations):
        by = BY_SLICE_LOCATION
        placed = [replace(one, position_mm=at) for one, at in zip(headers, locations, strict=True)]
    located = by != BY_INSTANCE

    def place(one: tuple[int, ImageHeader]) -> tuple[float, int, str]:
        at = placed[one[0]].position_mm if located else 0.0
        return at, one[1].instance_number, one[1].sop_uid

    order = tuple(k for k, _ in sorted(numbered, key=place))
    return order, tuple(placed[k] for k in order), by


def _tell_apart(places_mm: Sequence[float]) -> bool:
    return all(map(math.isfinite, places_mm)) and (
        len(places_mm) == 1 or len({round(one, 2) for one in places_mm}) > 1
    )


def scans_of(
    headers: Sequence[ImageHeader], *, study: str = "", folder: str = "", is_named_by_folder: bool = False
) -> list[tuple[Series, tuple[int, ...]]]:
    """The scans within the images of one series, the one to take first, each with its places in `headers`."""
    order, placed, by = in_order(headers)
    passes = passes_of(placed)
    found = []
    for number, scan in enumerate((passes.first, *passes.others)):
        one = Series(
            headers=tuple(placed[k] for k in scan),
            ordered_by=by,
            study=study,
            folder=folder,
            is_named_by_folder=is_named_by_folder,
            is_repeat=number > 0,
            is_phases=passes.is_phases,
        )
        found.append((one, tuple(order[k] for k in scan)))
    return found
