"""The slices of a study that a person should look at, plain and, where the model has them, under their heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.errors import DataError
from ich_mlflow.labels import ANY
from ich_mlflow.prediction.score import Lost, read_planned, read_row
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
    """plain, heat_map: uint8 RGB [S, S, 3] at the file's own resolution. heat_map: None of a model that has none."""

    chosen: Chosen
    plain: np.ndarray
    heat_map: np.ndarray | None


def choose_slices(result: StudyResult, count: int) -> list[Chosen]:
    """At most so many slices, each once: the one where any bleed is most probable, then each positive label's in turn.

    The first stands for the label whose most probable slice it is too, and for any where there is no such. Pure.
    """
    usable = [one for one in result.slices if not one.error]
    ranked = {
        label: sorted(usable, key=lambda one: -one.said[f"probability_{label}"]) for label in result.positive
    }
    if not ranked or count < 1:
        return []
    most = max(usable, key=lambda one: one.said[f"probability_{ANY}"])
    label = next((label for label, slices in ranked.items() if slices[0] is most), ANY)
    found, taken = [Chosen(slice=most, label=label)], {id(most)}
    if label in ranked:
        ranked[label] = ranked.pop(label)  # the others' turn
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
        saliency = _saliency(one, result, classifier) if classifier.can_explain else None
        original = read_planned(one.slice.series, one.slice.place).hu
        if max(original.shape) < STORED_SIZE:  # too small to be looked at, or for words below
            original = to_stored_size(original)
        heat_map = None if saliency is None else overlay(original, saliency, is_share=classifier.finds_blood)
        drawn.append(Drawn(chosen=one, plain=grey(original), heat_map=heat_map))
    return drawn


def page_picture(drawn: Drawn) -> bytes:
    """Both side by side as a JPEG [384, 768]; the slice alone [384, 384] where there is no heat map."""
    halves = [
        cv2.resize(half, (PAGE_SIZE, PAGE_SIZE), interpolation=cv2.INTER_AREA)
        for half in (drawn.plain, drawn.heat_map)
        if half is not None
    ]
    both = cv2.cvtColor(np.hstack(halves), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", both, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes()


def _saliency(chosen: Chosen, result: StudyResult, classifier: Classifier) -> np.ndarray:
    """The map [h, w] of the label that the slice is shown for."""
    specification = classifier.specification
    rows, middle = _neighbourhood(chosen.slice, result, specification.context)
    _, maps = classifier.explained(with_context(rows, specification.context)[middle][None])
    saliency: np.ndarray = maps[0, _mapped(chosen, specification.labels)]
    return saliency


def _neighbourhood(wanted: ScoredSlice, result: StudyResult, context: int):  # type: ignore[no-untyped-def]
    """Rows of the slice amid the usable slices of its series on either side, and its place among them."""
    series = [one for one in result.slices if one.series.key == wanted.series.key and not one.error]
    at = next(number for number, one in enumerate(series) if one.place == wanted.place)
    start = max(0, at - context)
    rows = [read_row(one.series, one.place) for one in series[start : at + context + 1]]
    lost = [row for row in rows if isinstance(row, Lost)]
    if lost:
        raise DataError(f"a slice that was scored can't be read again: {lost[0].why}")
    return rows, at - start


def _mapped(chosen: Chosen, labels: Sequence[str]) -> int:
    """Whose map it is: the label's, and for any, where the network has no such output, that of its highest output."""
    if chosen.label in labels:
        return labels.index(chosen.label)
    return int(np.argmax([chosen.slice.said[f"score_{label}"] for label in labels]))
