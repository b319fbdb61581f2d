"""How well a lesion map finds where the blood is: Dice and millilitres of exams whose masks are known.

Pure. Of each of VOLUMES, any blood and the five subtypes. A patient is the unit of the intervals.
Source of Dice: Dice, Ecology 26, 1945; of the whole exam and not slice by slice, as in segmentation of stroke.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich_mlflow.ct.blood import UNNAMED
from ich_mlflow.evaluation.intervals import NUM_RESAMPLES, patient_weights
from ich_mlflow.evaluation.t_interval import t_interval
from ich_mlflow.models.lesion_maps import VOLUMES, cell_counts


@dataclass(frozen=True, kw_only=True)
class BloodSlices:
    """Slices whose blood is known, and what a map found there.

    found, blood, right  pixels int [n, 6] of each of VOLUMES: found, there, and both
    named                bool [n]: whether it is known of which subtype all blood of the slice is
    pixel_ml             millilitres [n] that a pixel of the slice stands for, NaN where that is not known
    exams, patients      [n] keys of the exam and the patient
    """

    found: np.ndarray
    blood: np.ndarray
    right: np.ndarray
    named: np.ndarray
    pixel_ml: np.ndarray
    exams: np.ndarray
    patients: np.ndarray

    @classmethod
    def together(cls, parts: "list[BloodSlices]") -> "BloodSlices":
        """All their slices."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def counted(
    found: np.ndarray, blood: np.ndarray, *, pixel_ml: np.ndarray, exam: object, patient: object
) -> BloodSlices:
    """The slices of one exam: found and blood uint8 [n, H, W] with the bits of ct.blood, pixel_ml [n]."""
    right = cell_counts(found & blood)  # a subtype is right where it is the mask's too
    right[:, 0] = ((found > 0) & (blood > 0)).sum(axis=(1, 2))
    return BloodSlices(
        found=cell_counts(found),
        blood=cell_counts(blood),
        right=right,
        named=~np.asarray((blood & UNNAMED > 0).any(axis=(1, 2))),
        pixel_ml=np.asarray(pixel_ml, np.float64),
        exams=np.repeat(np.array(exam, object), len(found)),
        patients=np.repeat(np.array(patient, object), len(found)),
    )


@dataclass(frozen=True, kw_only=True)
class ExamBlood:
    """One of VOLUMES in E exams: Dice [E], NaN without blood there; millilitres found and there [E], NaN where pixels
    have no known size; shows bool [E]: whether there is any; patients [E]."""

    dice: np.ndarray
    found_ml: np.ndarray
    blood_ml: np.ndarray
    shows: np.ndarray
    patients: np.ndarray


def of_exams(slices: BloodSlices, number: int) -> ExamBlood:
    """Put slices together, of the entry `number` of VOLUMES; a subtype over the slices of which it is known."""
    use = np.ones(len(slices.named), bool) if number == 0 else slices.named
    names, first, exam_of = np.unique(slices.exams[use].astype(str), return_index=True, return_inverse=True)

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(exam_of, weights=values, minlength=len(names))

    found, blood, right = (one[use, number] for one in (slices.found, slices.blood, slices.right))
    both, there = sums(found + blood), sums(blood)
    pixel_ml = slices.pixel_ml[use]
    return ExamBlood(
        dice=np.divide(2 * sums(right), both, out=np.full(len(names), np.nan), where=there > 0),
        found_ml=sums(found * pixel_ml),
        blood_ml=sums(blood * pixel_ml),
        shows=there > 0,
        patients=slices.patients[use][first],
    )


@dataclass(frozen=True, kw_only=True)
class BloodMetric:
    """A mean over exams. of: of each exam its value [E], NaN of those that it is not taken over."""

    name: str
    title: str
    meaning: str
    of: Callable[[ExamBlood], np.ndarray]
    digits: int = 1
    is_share: bool = False


def _where(shown: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(shown, values, np.nan)


DICE = BloodMetric(
    name="dice",
    title="Dice",
    meaning="overlap of found and real blood in an exam with such blood, 0 to 1",
    of=lambda exams: exams.dice,
    digits=2,
    is_share=True,
)
BLOOD_METRICS = (
    DICE,
    BloodMetric(
        name="ml",
        title="mL by masks",
        meaning="how much blood the masks show, in exams with such blood",
        of=lambda exams: _where(exams.shows, exams.blood_ml),
    ),
    BloodMetric(
        name="ml_error",
        title="error, mL",
        meaning="mean error of the millilitres, whether too many or too few, in exams with such blood",
        of=lambda exams: _where(exams.shows, np.abs(exams.found_ml - exams.blood_ml)),
    ),
    BloodMetric(
        name="ml_bias",
        title="bias, mL",
        meaning="mean of found minus real millilitres, in exams with such blood: above 0 too much is found",
        of=lambda exams: _where(exams.shows, exams.found_ml - exams.blood_ml),
    ),
    BloodMetric(
        name="ml_where_none",
        title="found where none is, mL",
        meaning="how much is found in exams without such blood",
        of=lambda exams: _where(~exams.shows, exams.found_ml),
    ),
)
COLUMNS = ("metric", "label", "value", "low", "high", "exams", "patients")


def blood_table(slices: BloodSlices, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """A row a metric and one of VOLUMES, with its 95 % interval over patients; columns as COLUMNS.

    What no exam can tell is left out.
    """
    rows = []
    for number, label in enumerate(VOLUMES):
        exams = of_exams(slices, number)
        for metric in BLOOD_METRICS:
            values = metric.of(exams)
            known = ~np.isnan(values)
            if known.any():
                mean = mean_over_patients(
                    values[known],
                    exams.patients[known],
                    is_share=metric.is_share,
                    num_resamples=num_resamples,
                    seed=seed,
                )
                rows.append({"metric": metric.name, "label": label, **mean, "exams": int(known.sum())})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def mean_over_patients(
    values: np.ndarray,
    patients: np.ndarray,
    *,
    is_share: bool,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, float]:
    """The mean of values [n] with its interval over resamples of the patients [n]: value, low, high, patients."""
    names, of = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    sums = np.bincount(of, weights=values, minlength=len(names))
    counts = np.bincount(of, minlength=len(names))
    samples = [
        (weights @ sums) / (weights @ counts)
        for weights in patient_weights(len(names), len(values), num_resamples, seed)
    ]
    value = float(np.mean(values))
    interval = t_interval(value, np.concatenate(samples), num_patients=len(names), is_share=is_share)
    return {"value": value, "low": interval.low, "high": interval.high, "patients": len(names)}
