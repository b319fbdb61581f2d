"""Which of the series of a study to take: axial, without contrast, not of bone, the thinnest. Pure.

A study of the head may hold a localizer, the non-contrast scan by a soft and a bone kernel, thick and thin, reformats,
and the scan with contrast. Only the non-contrast scan is like what a model has learned from.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from ich_mlflow.dicom.series import SliceHeader

MAX_TILT_DEGREES = 45.0
#: A head is about 150 mm high; a scan of a part of it is no scan of a head.
MIN_COVERAGE_MM = 100.0
MIN_SLICES = 16
#: Less than this share of different positions: several images at each, as in perfusion or two phases.
_MIN_DIFFERENT = 0.9

#: What says that there was none is taken out before the words of contrast are looked for: `C-` and `-C` while the minus
#: is there, then the words. Source: the folder names of CQ500, and what scanners write in four languages.
_MINUS = re.compile(r"(?<!\w)c ?-(?!\w)|(?<![\w+])- ?c(?!\w)")
_WITHOUT_CONTRAST = re.compile(
    r"\b(pre|non?|without|w/?o|w/?out|sans|sin|senza|ohne) ?(iv ?|i\.v\. ?)?"
    r"(contrast\w*|con\b|c\b|enhanc\w*|km\b|kontrast\w*|injection)|\bun ?enhanced|\bplain\b|\bnativ\w*"
)
_WITH_CONTRAST = re.compile(
    r"contrast|kontrast|enhanc|\bcect\b|(?<!\w)c(?!\w)|\bw ?con\b|\bw/con\b|(?<!\w)km\b|injection|inject[eé]|angio|"
    r"\bct[av]\b|veno|arterial|perfusion|bolus|d3d|\b\d+ ?cc\b|"
    r"\bpost\b(?! ?(op|fossa|surg|trauma|thromb|ictal|fall|cranio|evac|coil|clip|stent|lysis|tpa|treat|drain|shunt))"
)
_BONE = re.compile(r"\bbone|\bedge\b")
#: Sharp kernels: Siemens' H60s, B70f, J70h, Hr60f; Canon's FC30 to FC39 and FC80 to FC89; Philips' YA to YE.
_SHARP_KERNEL = re.compile(r"\b(?:[hbju][a-z]?[6-9]\d[a-z]?|fc[38]\d|y[a-e])\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesChoice:
    """What became of one series of a study that has several.

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


@dataclass(frozen=True, kw_only=True)
class Series:
    """The images of one series in one folder. headers: one or more, in any order."""

    study: str
    folder: str
    headers: tuple[SliceHeader, ...]

    @property
    def texts(self) -> tuple[str, str]:
        """What it is called: its folder's name, its description."""
        return PurePosixPath(self.folder).name, self.headers[0].description

    @cached_property
    def positions_mm(self) -> np.ndarray:
        """The different positions, float64 [n], from the feet up; images without one left out."""
        return np.unique(
            np.round([one.position_mm for one in self.headers if math.isfinite(one.position_mm)], 2)
        )

    @property
    def step_mm(self) -> float:
        """The usual distance from slice to slice, to 0.01 mm; nan of a single position."""
        steps = np.diff(self.positions_mm)
        return round(float(np.median(steps)), 2) if len(steps) else float("nan")

    @property
    def coverage_mm(self) -> float:
        """How much of the body its slices show: gaps don't count."""
        return len(self.positions_mm) * self.step_mm

    @property
    def is_bone(self) -> bool:
        """Whether it is named for bone, or its kernel is one of bone's."""
        said = [_words(text) for text in (*self.texts, self.headers[0].kernel)]
        return any(_BONE.search(text) or _SHARP_KERNEL.search(text) for text in said)


def says_contrast(text: str) -> bool:
    """Whether a series of that name was made with contrast, as far as the name says."""
    words = _words(_MINUS.sub(" ", text.lower()))
    return _WITH_CONTRAST.search(_WITHOUT_CONTRAST.sub(" ", words)) is not None


def choose_series(series: Sequence[Series]) -> tuple[Series | None, list[SeriesChoice]]:
    """The series of a study to take, None where none will do; and of each what became of it, by folder.

    Left out in this order: localizers, what is tilted by more than 45 degrees, contrast (by the words in folder
    or description, or the header's agent), several images at one position, less than 100 mm or 16 slices, bone
    kernels where there is another. Of the rest the one with the thinnest step, of equal ones the first by name.
    """
    series = sorted(series, key=lambda one: (one.folder, one.headers[0].series_uid))
    why = {id(one): _why_not(one) for one in series}
    left = [one for one in series if not why[id(one)]]
    if any(not one.is_bone for one in left):
        why |= {id(one): "bone kernel, and there is another" for one in left if one.is_bone}
        left = [one for one in left if not one.is_bone]
    chosen = min(left, key=lambda one: one.step_mm, default=None)
    for one in left:
        if one is chosen:
            why[id(one)] = (
                f"thinnest of {len(left)} non-contrast axial series" if len(left) > 1 else "the only one"
            )
        else:
            thicker = chosen is not None and one.step_mm > chosen.step_mm
            why[id(one)] = "there is a thinner one" if thicker else "as thin as the chosen one, later by name"
    rows = [
        SeriesChoice(
            study=one.study,
            series=one.folder,
            step_mm=one.step_mm,
            num_slices=len(one.headers),
            chosen=one is chosen,
            why=why[id(one)],
        )
        for one in series
    ]
    return chosen, rows


def _why_not(series: Series) -> str:
    """Why a series won't do, whatever else there is; '' where it will."""
    return why_not_non_contrast(series) or why_too_short(series)


def why_not_non_contrast(series: Series) -> str:
    """Why it is no non-contrast axial scan, by its headers; '' where nothing speaks against it."""
    tilt = float(np.median([header.tilt_degrees for header in series.headers]))
    num_located = sum(math.isfinite(header.position_mm) for header in series.headers)
    num_positions = len(series.positions_mm)
    if all(header.is_localizer for header in series.headers):
        return "localizer"
    if tilt > MAX_TILT_DEGREES:
        return f"not axial: its normal is {tilt:.0f} degrees from the body axis"
    if any(map(says_contrast, series.texts)):
        return "contrast, by its name"
    if any(header.has_contrast for header in series.headers):
        return "contrast, by ContrastBolusAgent"
    if num_positions < _MIN_DIFFERENT * num_located:
        return f"several images at one position: {num_located} at {num_positions}"
    return ""


def why_too_short(series: Series) -> str:
    """Why it is no scan of a whole head, by what it covers; '' where it may be."""
    num_slices = len(series.headers)
    # Of a single position the coverage is nan, which is not enough either.
    if num_slices < MIN_SLICES or not series.coverage_mm >= MIN_COVERAGE_MM:
        return (
            f"{num_slices} slices of {series.coverage_mm:.0f} mm together, expected {MIN_SLICES} and "
            f"{MIN_COVERAGE_MM:.0f} mm"
        )
    return ""


def _words(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.lower()).strip()
