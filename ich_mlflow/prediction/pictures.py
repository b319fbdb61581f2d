"""The slices of a study that a person should look at, plain and under their heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.dicom.slice import slice_from_bytes
from ich_mlflow.errors import DataError
from ich_mlflow.prediction.score import read_row
from ich_mlflow.prediction.verdict import ScoredSlice, StudyResult
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.heat_map import grey, overlay
from ich_mlflow.serving.rows import with_context

#: Pixels a side of each half of a picture on the page.
PAGE_SIZE = 384
_JPEG_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A slice to be shown, and the label that it is shown for."""

    slice: ScoredSlice
    label: str

    @property
    def probability(self) -> float:
        return float(self.slice.said[f"probability_{self.label}"])

    @property
    def caption(self) -> str:
        """What stands under it: label, probability, which slice."""
        number = self.slice.place + 1
        return f"{self.label} {self.probability:.2f}, slice {number} of {len(self.slice.series.files)} from below"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """plain, heat_map: uint8 RGB [S, S, 3] at the file's own resolution."""

    chosen: Chosen
    plain: np.ndarray
    heat_map: np.ndarray


def choose_slices(result: StudyResult, count: int) -> list[Chosen]:
    """At most so many slices: the most probable ones of each positive label in turn, each slice once. Pure."""
    usable = [one for one in result.slices if not one.error]
    ranked = {
        label: sorted(usable, key=lambda one: -one.said[f"probability_{label}"]) for label in result.positive
    }
    found: list[Chosen] = []
    taken: set[int] = set()
    while len(found) < count and any(ranked.values()):
        for label, slices in ranked.items():
            while slices and id(slices[0]) in taken:
                slices.pop(0)
            if slices and len(found) < count:
                best = slices.pop(0)
                taken.add(id(best))
                found.append(Chosen(slice=best, label=label))
    return found


def draw(chosen: Sequence[Chosen], result: StudyResult, classifier: Classifier) -> list[Drawn]:
    """Read the slices (and their neighbours, where the network wants them) again, and draw them."""
    drawn = []
    for one in chosen:
        rows, middle = _neighbourhood(one.slice, result, classifier.specification.context)
        hu = with_context(rows, classifier.specification.context)[middle]
        _, maps = classifier.explained(hu[None])
        saliency = maps[0, classifier.specification.labels.index(one.label)]
        original = slice_from_bytes(_bytes(one.slice), "the file").hu
        if max(original.shape) < STORED_SIZE:  # too small to be looked at, or for words below
            original = to_stored_size(original)
        drawn.append(Drawn(chosen=one, plain=grey(original), heat_map=overlay(original, saliency)))
    return drawn


def page_picture(drawn: Drawn) -> bytes:
    """Both side by side as a JPEG [384, 768]."""
    halves = [
        cv2.resize(half, (PAGE_SIZE, PAGE_SIZE), interpolation=cv2.INTER_AREA)
        for half in (drawn.plain, drawn.heat_map)
    ]
    both = cv2.cvtColor(np.hstack(halves), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", both, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes()


def _neighbourhood(wanted: ScoredSlice, result: StudyResult, context: int):  # type: ignore[no-untyped-def]
    """Rows of the slice amid the usable slices of its series on either side, and its place among them."""
    series = [one for one in result.slices if one.series.key == wanted.series.key and not one.error]
    at = next(number for number, one in enumerate(series) if one.place == wanted.place)
    start = max(0, at - context)
    rows = [read_row(one.series, one.place) for one in series[start : at + context + 1]]
    lost = [row for row in rows if isinstance(row, str)]
    if lost:
        raise DataError(f"a slice that was scored can't be read again: {lost[0]}")
    return rows, at - start


def _bytes(one: ScoredSlice) -> bytes:
    return one.series.files[one.place].path.read_bytes()
