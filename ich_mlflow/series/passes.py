"""Scans of the same place within one series: told apart, so that no two of them are read as one head. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ich_mlflow.dicom.image_header import ImageHeader

#: Less than this share of positions with several images: some slices were taken again. More: phases, as of perfusion.
_FEW_REPEATED = 0.5
#: Positions nearer than this are one.
_SAME_MM = 0.05
#: So many usual steps back begin another pass; with more such jumps the numbers say nothing of the order of scanning.
_JUMP_STEPS, _MAX_JUMPS = 3, 20

#: Python makes no integer of thousands of digits.
_DIGITS = 20


@dataclass(frozen=True, kw_only=True)
class Passes:
    """The scans within a series.

    first      indices of the one to take, in the order given
    others     of each further scan its indices
    is_phases  whether most positions have several images, so that nothing tells which phase is which
    """

    first: tuple[int, ...]
    others: tuple[tuple[int, ...], ...] = ()
    is_phases: bool = False


def passes_of(headers: Sequence[ImageHeader]) -> Passes:
    """Part the images of a series into scans that run through the body once.

    Acquisitions (AcquisitionNumber) that overlap belong to different scans, and those that follow one another, as in a
    scan by steps, to the same. The scan with most images is the first, of equal ones that with the lower numbers.
    So do runs of InstanceNumber. Of images at one
    position the first is kept. Images without a position stay with the first.
    """
    everything = tuple(range(len(headers)))
    located = [k for k in everything if math.isfinite(headers[k].position_mm)]
    if len(located) < 2:
        return Passes(first=everything)
    scans = _scans(headers, located)
    if len(scans) > 1:
        scans.sort(key=lambda scan: (-len(scan), _number(headers[scan[0]].acquisition)))
        if _is_phases(headers, scans):
            return Passes(first=everything, is_phases=True)
    first, again = _one_a_position(headers, scans[0])
    if len(again) >= _FEW_REPEATED * len(first):
        return Passes(first=everything, is_phases=True)
    elsewhere = [k for k in everything if k not in set(located)]
    others = [tuple(again)] if again else []
    others += [tuple(scan) for scan in scans[1:]]
    return Passes(first=tuple(sorted([*first, *elsewhere])), others=tuple(others))


def _scans(headers: Sequence[ImageHeader], located: Sequence[int]) -> list[list[int]]:
    """Acquisitions put together where they don't overlap: the fewest scans, each from below."""
    groups: dict[tuple[str, int], list[int]] = {}
    for k, run in zip(located, _runs([headers[k] for k in located]), strict=True):
        groups.setdefault((headers[k].acquisition, run), []).append(k)
    if len(groups) < 2:
        return [list(located)]
    ranges = sorted(
        (min(at), max(at), one) for one in groups.values() for at in [[headers[k].position_mm for k in one]]
    )
    scans: list[tuple[float, list[int]]] = []
    for low, high, one in ranges:
        for number, (end, scan) in enumerate(scans):
            if low > end + _SAME_MM:
                scans[number] = (high, scan + one)
                break
        else:
            scans.append((high, list(one)))
    return [scan for _, scan in scans]


def _runs(headers: Sequence[ImageHeader]) -> list[int]:
    """Of each image the run it belongs to: by InstanceNumber, a new one begins where the positions jump back.

    All 0 where the numbers don't tell, because they repeat, or jump at random.
    """
    numbers = np.array([header.instance_number for header in headers])
    if len(np.unique(numbers)) < len(numbers) or len(numbers) < 3:
        return [0] * len(headers)
    order = np.argsort(numbers)
    steps = np.diff(np.array([header.position_mm for header in headers])[order])
    usual = float(np.median(np.abs(steps)))
    forward = np.sign(np.median(steps))
    back = (np.sign(steps) == -forward) & (np.abs(steps) > _JUMP_STEPS * usual)
    if not forward or back.sum() > _MAX_JUMPS:
        return [0] * len(headers)
    runs = np.empty(len(headers), int)
    runs[order] = np.concatenate([[0], np.cumsum(back)])
    return runs.tolist()


def _is_phases(headers: Sequence[ImageHeader], scans: Sequence[Sequence[int]]) -> bool:
    """Whether the first two scans lie at the same positions, or there are three of like size."""
    first, second = (np.round([headers[k].position_mm for k in scan], 2) for scan in scans[:2])
    same = len(np.intersect1d(first, second))
    many = len(scans) > 2 and len(scans[2]) > _FEW_REPEATED * len(first)
    return same >= _FEW_REPEATED * len(first) or many


def _one_a_position(headers: Sequence[ImageHeader], scan: Sequence[int]) -> tuple[list[int], list[int]]:
    """The first image at each position by InstanceNumber, and the others."""
    seen: set[float] = set()
    first: list[int] = []
    again: list[int] = []
    for k in sorted(scan, key=lambda k: (headers[k].instance_number, k)):
        place = round(headers[k].position_mm, 1)
        (again if place in seen else first).append(k)
        seen.add(place)
    return first, again


def _number(acquisition: str) -> tuple[int, str]:
    is_number = acquisition.isdecimal() and len(acquisition) < _DIGITS
    return (int(acquisition), "") if is_number else (0, acquisition)
