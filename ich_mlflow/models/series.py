"""What a network says of the slices of a series, made better by what it says of their neighbours.

A bleed is on several slices, and what is on one alone is mostly noise: logits are averaged along the head.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ich_mlflow.errors import OutputError
from ich_mlflow.models.family import Explainer, Reader, Reading
from ich_mlflow.models.logits import logit, mean_of_logits, sigmoid

NONE, AUTO = "none", "auto"
#: How far away a slice has no say any more, mm. Its weight falls in a line with distance: slices 5 mm apart have 3, 2
#: and 1 thirds with 15mm. In millimetres and not in slices, so that thin slices of a head are smoothed as far.
SMOOTHINGS: dict[str, float] = {NONE: 0.0, "10mm": 10.0, "15mm": 15.0, "20mm": 20.0}
#: The distance that is taken for slices whose positions are not known, but whose order is.
USUAL_STEP_MM = 5.0
_ROUNDING = 1e-6
#: How what is said of such an answer begins.
NO_PROBABILITY = "the network's answer is no probability"


def smoothed(outputs: np.ndarray, position_mm: np.ndarray, smoothing: str) -> np.ndarray:
    """What is said of the slices of one series [n, L], 0 to 1, averaged along the head in logits; same order and type.

    position_mm [n]: along the series, in any order. Several slices at one place count each once. Where all of several
    are at one place, positions are not known, and nothing is averaged. Raises ValueError for another smoothing than
    SMOOTHINGS has.
    """
    if smoothing not in SMOOTHINGS:
        raise ValueError(f"smoothing is {smoothing!r}, expected one of {', '.join(SMOOTHINGS)}")
    if SMOOTHINGS[smoothing] == 0 or len(outputs) < 2 or np.ptp(position_mm) == 0:
        return outputs
    distance = np.abs(np.subtract.outer(position_mm, position_mm))
    weights = np.maximum(0.0, 1.0 - distance / SMOOTHINGS[smoothing])
    mean = weights @ logit(np.asarray(outputs, dtype=np.float64)) / weights.sum(axis=1, keepdims=True)
    return sigmoid(mean).astype(outputs.dtype)


def known_positions(position_mm: np.ndarray) -> np.ndarray:
    """The positions of a series [n] in its order; the usual step apart where any is not known."""
    position_mm = np.asarray(position_mm, dtype=np.float64)
    if np.isfinite(position_mm).all():
        return position_mm
    return USUAL_STEP_MM * np.arange(len(position_mm))


def smoothed_each(
    outputs: np.ndarray, position_mm: np.ndarray, series: np.ndarray, smoothing: str
) -> np.ndarray:
    """The same of the slices [n, L] of several series, by their keys [n]."""
    result = np.array(outputs)
    _, series_of = np.unique(series, return_inverse=True)
    for places in np.split(np.argsort(series_of, kind="stable"), np.cumsum(np.bincount(series_of))[:-1]):
        result[places] = smoothed(outputs[places], known_positions(position_mm[places]), smoothing)
    return result


def read_series(
    readers: Sequence[Reader], hu: np.ndarray, position_mm: np.ndarray, *, mirror: bool, smoothing: str
) -> Reading:
    """What the mean of the networks says of a series hu [n, 256, 256], position_mm [n], in the order of the slices.

    mirror: whether the mirror image is looked at too. What is said of slices is smoothed, of an exam it is not. Raises
    OutputError where a network's answer is no probability.
    """
    order = np.argsort(position_mm, kind="stable")
    places = np.asarray(position_mm, np.float64)
    views = (False, True) if mirror else (False,)
    read = mean_reading(
        [_view(one, hu[order], places[order], mirrored=view) for one in readers for view in views]
    )
    back = np.argsort(order, kind="stable")
    lesions, distance = (None if one is None else one[back] for one in (read.lesions, read.distance))
    return Reading(smoothed(read.slices[back], places, smoothing), read.exam, lesions, distance)


def _view(reader: Reader, hu: np.ndarray, position_mm: np.ndarray, *, mirrored: bool) -> Reading:
    """What is said of a series, or of its mirror image; where the blood is, and how unlike, of the series itself."""
    read = reader.read(hu[:, :, ::-1] if mirrored else hu, position_mm)
    for said in (read.slices, read.exam, read.lesions):
        expect_probabilities(said)
    if not mirrored:
        return read
    return replace(read, lesions=None if read.lesions is None else read.lesions[:, :, ::-1], distance=None)


def expect_probabilities(said: np.ndarray | None) -> None:
    """Raise OutputError where a number of a network's answer is not finite, or not of 0 to 1.

    None: nothing was said.
    """
    if said is None or not said.size:
        return
    # NaN fails both comparisons.
    if not (np.min(said) >= -_ROUNDING and np.max(said) <= 1 + _ROUNDING):
        raise OutputError(
            f"{NO_PROBABILITY}, so there is no result: the model's files may be damaged, load it again"
        )


def mean_reading(readings: Sequence[Reading]) -> Reading:
    """Several readings of one series, averaged in logits, and the means of their lesion maps and of their distances
    where they have them; one as it is."""
    if len(readings) == 1:
        return readings[0]
    exams = [one.exam for one in readings if one.exam is not None]
    lesions = [one.lesions for one in readings if one.lesions is not None]
    distances = [one.distance for one in readings if one.distance is not None]
    return Reading(
        mean_of_logits(*(one.slices for one in readings)),
        mean_of_logits(*exams) if exams else None,
        np.mean(lesions, axis=0) if lesions else None,
        np.mean(distances, axis=0) if distances else None,
    )


def mean_explained(readers: Sequence[Explainer], hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the networks say of slices by themselves, averaged in logits, and the mean of their maps; one as it is.

    Raises OutputError as read_series.
    """
    said = [one.explained(hu) for one in readers]
    for outputs, _ in said:
        expect_probabilities(outputs)
    if len(said) == 1:
        return said[0]
    return mean_of_logits(*(one for one, _ in said)), np.mean([maps for _, maps in said], axis=0)
