"""One exam: a patient, perhaps bleeding, in a scanner. Pure: the same options and number give the same pixels."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ich_mlflow.errors import OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.anatomy import Fields, Patient, build_fields, paint_head, upsample
from ich_mlflow.phantom.bleeds import BLEEDS, BLOOD_HU, OEDEMA_HU, oedema_rim
from ich_mlflow.phantom.grid import Geometry, Pose, sample_head
from ich_mlflow.phantom.scanner import Scanner, scan_slice
from ich_mlflow.phantom.second.render import render
from ich_mlflow.phantom.shapes import paint
from ich_mlflow.phantom.template import load_template

#: Share of exams with any bleed, and of those the share with each subtype, in SUBTYPES order: chosen so that
#: slices are positive about as often as in RSNA 2019 (benchmarks/phantom_prevalence.py measures it).
BLEEDING_EXAMS = 0.38
SHARE_OF_BLEEDING = (0.055, 0.69, 0.34, 0.45, 0.27)
#: Editions of the phantoms: see ich_mlflow.phantom.second.
EDITIONS = (1, 2)
#: Every so many exams is a second one of the patient before.
SECOND_EXAM_EVERY = 8


@dataclass(frozen=True, kw_only=True)
class ExamOptions:
    """What an exam depends on beside its number.

    seed                 of the whole cohort
    exam_rate            chance of each subtype in an exam, 0 to 1, independently; None: about RSNA's prevalence
    min_blood_area_mm2   a slice is positive for a subtype when its blood covers more than this
    rows                 rows and columns of a slice: even, 64 to 1024
    edition              of the phantoms, a number of EDITIONS: 1 as they were in 0.1, 2 nearer to real head CT
    """

    seed: int = 0
    exam_rate: float | None = None
    min_blood_area_mm2: float = 30.0
    rows: int = 512
    edition: int = 1

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}, expected 0 or more")
        if self.exam_rate is not None and not 0 <= self.exam_rate <= 1:
            raise OptionError(
                f"exam_rate is {self.exam_rate}, expected 0 to 1, or None for RSNA's prevalence"
            )
        if self.rows % 2 or not 64 <= self.rows <= 1024:
            raise OptionError(f"rows is {self.rows}, expected an even number from 64 to 1024")
        if self.edition not in EDITIONS:
            raise OptionError(f"edition is {self.edition}, expected one of {', '.join(map(str, EDITIONS))}")
        if not self.min_blood_area_mm2 >= 0:
            raise OptionError(f"min_blood_area_mm2 is {self.min_blood_area_mm2}, expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One exam, slices from the lowest up.

    hu            int16 [n, rows, rows]; -3024 outside the reconstructed circle where the scanner has one
    blood         bool [5, n, rows, rows], masks in SUBTYPES order
    subtypes      uint8 [n, 5], 1 where the mask is larger than the stated area
    sop_uids      ID_<9 hex>, one a slice; patient_id, study_uid, series_uid as in RSNA 2019
    """

    patient_id: str
    study_uid: str
    series_uid: str
    sop_uids: tuple[str, ...]
    geometry: Geometry
    hu: np.ndarray
    blood: np.ndarray
    subtypes: np.ndarray


class _Made(NamedTuple):
    hu: np.ndarray
    blood: np.ndarray
    geometry: Geometry


def make_exam(options: ExamOptions, number: int) -> Exam:
    """Exam `number` (0 or more) of the cohort; about 1.5 s at 512 rows on one core."""
    patient_number = number - 1 if number % SECOND_EXAM_EVERY == SECOND_EXAM_EVERY - 1 else number
    body = np.random.default_rng((options.seed, patient_number, 0))
    visit = np.random.default_rng((options.seed, number, 1))
    hu, blood, geometry = _MAKERS[options.edition](options, body, visit)
    areas = blood.sum(axis=(2, 3)).T * geometry.pixel_mm**2
    return Exam(
        patient_id=f"ID_{_hex(8, options.seed, 'patient', patient_number)}",
        study_uid=f"ID_{_hex(10, options.seed, 'study', number)}",
        series_uid=f"ID_{_hex(10, options.seed, 'series', number)}",
        sop_uids=tuple(f"ID_{_hex(9, options.seed, number, k)}" for k in range(geometry.num_slices)),
        geometry=geometry,
        hu=hu,
        blood=blood,
        subtypes=(areas > options.min_blood_area_mm2).astype(np.uint8),
    )


def _first(options: ExamOptions, body: np.random.Generator, visit: np.random.Generator) -> _Made:
    """The first edition: a slice is an infinitely thin plane."""
    patient, linear = Patient.draw(body), _linear(body)
    warp_seed = int(body.integers(2**31))
    geometry, pose, scanner = _geometry(options, visit), _pose(linear, visit), Scanner.draw(visit)
    head = sample_head(load_template(), geometry, pose, np.random.default_rng(warp_seed))
    fields = build_fields(head, patient, np.random.default_rng(warp_seed + 1))
    masks, oedema = _bleeds(fields, _present(options, visit), visit)
    hu, blood = _render(fields, patient, scanner, geometry, masks, oedema, visit)
    return _Made(hu, blood, geometry)


def _second(options: ExamOptions, body: np.random.Generator, visit: np.random.Generator) -> _Made:
    """The second edition: a slice is the mean over its thickness."""
    linear, geometry = _linear(body), _geometry(options, visit)
    made = render(
        geometry,
        _pose(linear, visit),
        _present(options, visit),
        least_area_mm2=options.min_blood_area_mm2,
        body=body,
        visit=visit,
    )
    return _Made(made.hu, made.blood, geometry)


_MAKERS = {1: _first, 2: _second}


def _present(options: ExamOptions, rng: np.random.Generator) -> list[bool]:
    draws, bleeding = rng.random(len(SUBTYPES)), rng.random() < BLEEDING_EXAMS
    if options.exam_rate is not None:
        return [bool(draw < options.exam_rate) for draw in draws]
    return [bool(bleeding and d < share) for d, share in zip(draws, SHARE_OF_BLEEDING, strict=True)]


def _linear(rng: np.random.Generator) -> np.ndarray:
    """Scanner millimetres to template millimetres: head size and shape."""
    size = rng.normal(1.0, 0.035) * rng.normal(1.0, 0.02, size=3)
    return np.diag(1 / np.clip(size, 0.88, 1.12))


def _geometry(options: ExamOptions, rng: np.random.Generator) -> Geometry:
    tilt = rng.uniform(5, 15) if rng.random() < 0.4 else 0.0
    step = rng.choice([4.8, 5.0, 5.5], p=[0.2, 0.6, 0.2])
    return Geometry(
        rows=options.rows,
        pixel_mm=float(rng.uniform(0.43, 0.5) * 512 / options.rows),
        num_slices=int(rng.integers(26, 33)),
        step_mm=float(step),
        tilt_degrees=float(tilt),
    )


def _pose(linear: np.ndarray, rng: np.random.Generator) -> Pose:
    pitch, roll, yaw = np.deg2rad([rng.normal(3, 4), rng.normal(0, 3), rng.normal(0, 4)])
    turn_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turn_y = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
    turn_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    centre = np.array([0.0, -10.0, 11.0]) + rng.normal(0, 1, size=3) * (4, 5, 3)
    return Pose(linear=linear @ turn_x @ turn_y @ turn_z, centre=centre)


def _bleeds(
    fields: Fields, present: list[bool], rng: np.random.Generator
) -> tuple[dict[int, tuple[np.ndarray, float]], np.ndarray | None]:
    """Mask and attenuation of each bleed that is there, by its place in SUBTYPES; and the oedema."""
    masks: dict[int, tuple[np.ndarray, float]] = {}
    oedema = None
    for number, (name, make) in enumerate(BLEEDS.items()):
        if not present[number]:
            continue
        mask = make(fields, rng)
        if name == "intraparenchymal":
            oedema = oedema_rim(mask, fields, rng)
        masks[number] = (mask, float(rng.uniform(*BLOOD_HU)))
    return masks, oedema


def _render(
    fields: Fields,
    patient: Patient,
    scanner: Scanner,
    geometry: Geometry,
    masks: dict[int, tuple[np.ndarray, float]],
    oedema: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    shape = (geometry.num_slices, geometry.rows, geometry.rows)
    hu = np.empty(shape, np.int16)
    blood = np.zeros((len(SUBTYPES), *shape), bool)
    for k in range(geometry.num_slices):
        image = paint_head(fields, patient, k)
        if oedema is not None:
            paint(image, upsample(oedema[k]), OEDEMA_HU)
        for number, (mask, attenuation) in masks.items():
            if not mask[k].any():
                continue
            share = upsample(mask[k])
            paint(image, share, attenuation + 3 * upsample(fields.texture[k]))
            blood[number, k] = share > 0.5
        base = float(np.clip((-18 - np.median(fields.head.z[k])) / 15, 0, 1))
        hu[k] = scan_slice(image, scanner, pixel_mm=geometry.pixel_mm, base=base, rng=rng)
    return hu, blood


def _hex(digits: int, *parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:digits]
