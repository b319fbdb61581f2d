"""One phantom exam: a pure function of the options and its number."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom import bleeds
from ich_mlflow.phantom.anatomy import Head, Patient, brain_hu, draw_patient, lay_brain, shape_head
from ich_mlflow.phantom.atlas import Atlas, load_atlas
from ich_mlflow.phantom.chance import subtypes_of
from ich_mlflow.phantom.geometry import MNI_CENTER, Pose, ScanGrid
from ich_mlflow.phantom.options import CohortOptions
from ich_mlflow.phantom.scan import Scanner, draw_scanner, harden_beam, make_image
from ich_mlflow.phantom.skull import outside_hu

#: The head is composed on at most this many rows, then scanned at the full number: the atlas has 1 mm.
_WORK_ROWS = 320
#: Every so many exams one is a second exam of the patient before: grouping by patient matters.
_FOLLOW_UP_EVERY = 8
#: What the slices cover along z, MNI mm: from below the cerebellum to above the vertex.
_BOTTOM_MM, _TOP_MM = -62.0, 88.0
#: Bleeds are laid in this order: what lies outside the brain covers what lies within.
_LAYERS = ("intraparenchymal", "intraventricular", "subarachnoid", "subdural", "epidural")


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One series of a phantom patient, N slices from the feet to the head.

    hu                int16 [N, H, W]
    blood             uint8 [N, H, W], bit i set where there is blood of labels.SUBTYPES[i]
    subtypes          uint8 [N, 5], 1 where a slice has more blood of the subtype than the stated area
    sop_uids          ID_<9 hex>, one a slice
    positions_mm      ImagePositionPatient, float64 [N, 3]
    orientation       ImageOrientationPatient, six numbers
    pixel_spacing_mm  (between rows, between columns)
    padded            -1024 HU stands for padding outside the circular field of view
    """

    patient_id: str
    study_uid: str
    series_uid: str
    sop_uids: tuple[str, ...]
    hu: np.ndarray
    blood: np.ndarray
    subtypes: np.ndarray
    positions_mm: np.ndarray
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, float]
    padded: bool


def patient_of(index: int) -> int:
    """The patient's number of exam `index`: each eighth exam is the patient's before."""
    return index - (index + 1) // _FOLLOW_UP_EVERY


def make_exam(options: CohortOptions, index: int) -> Exam:
    """Make exam `index` of a cohort. Depends on the options and the index only; about 2 s at 512 rows."""
    person = patient_of(index)
    patient_rng = np.random.default_rng([options.seed, 1, person])
    rng = np.random.default_rng([options.seed, 2, index])
    atlas, patient = load_atlas(), draw_patient(patient_rng)
    grid, pose, scanner = *_place(options, patient, rng), draw_scanner(rng)
    points = grid.points(min(options.rows, _WORK_ROWS))
    head = shape_head(atlas, points, pose.to_mni(points), grid, patient_rng)
    shown = subtypes_of(options.seed, person, options.exam_rates)
    planned = _plan(shown, atlas, size=float(rng.uniform(0.85, 1.15)), rng=patient_rng)
    hu, fractions = _compose(atlas, head, patient, planned, patient_rng)
    harden_beam(hu, head.mni, head.inner_mm, scanner)
    image = make_image(hu, grid, scanner, rng)
    blood = _blood_bits(fractions, grid)
    return _exam(options, index, grid=grid, scanner=scanner, image=image, blood=blood)


def _place(options: CohortOptions, patient: Patient, rng: np.random.Generator) -> tuple[ScanGrid, Pose]:
    """A field of view and the head in it. A tilted gantry and a nodding head partly cancel, as in practice."""
    tilt = float(np.radians(rng.uniform(6, 20))) if rng.random() < 0.5 else 0.0
    pose = Pose(
        scale=patient.scale,
        pitch=float(-0.6 * tilt + np.radians(rng.normal(-7, 4))),
        yaw=float(np.radians(rng.normal(0, 5))),
        roll=float(np.radians(rng.normal(0, 3))),
        shift=(float(rng.normal(0, 4)), float(rng.normal(0, 4)), 0.0),
    )
    slice_mm = float(rng.choice([4.8, 5.0, 5.0, 5.0, 5.5, 6.0]))
    field_mm = max(rng.uniform(220, 256), 205 * patient.scale[1] + 12)
    pixel_mm = round(float(field_mm) / options.rows, 6)
    below, above = (patient.scale[2] * (z - MNI_CENTER[2]) for z in (_BOTTOM_MM, _TOP_MM))
    num_slices = int(np.ceil((above - below) / slice_mm))
    half = pixel_mm * (options.rows - 1) / 2
    aligned = ScanGrid(
        rows=options.rows, pixel_mm=pixel_mm, slice_mm=slice_mm, num_slices=num_slices, tilt=tilt, origin=(0, 0, 0)
    )
    corner = below * aligned.normal - half * (aligned.row_direction + aligned.column_direction)
    x, y, z = (round(float(v), 6) for v in corner)
    grid = ScanGrid(
        rows=options.rows, pixel_mm=pixel_mm, slice_mm=slice_mm, num_slices=num_slices, tilt=tilt, origin=(x, y, z)
    )
    return grid, pose


def _plan(
    shown: tuple[str, ...], atlas: Atlas, *, size: float, rng: np.random.Generator
) -> list[bleeds.Bleed]:
    makers: dict[str, Callable[[np.random.Generator, float], bleeds.Bleed]] = {
        "epidural": lambda rng, size: bleeds.epidural(rng, lambda toward: _inner_table(atlas, toward), size),
        "subdural": bleeds.subdural,
        "subarachnoid": bleeds.subarachnoid,
        "intraventricular": bleeds.intraventricular,
        "intraparenchymal": bleeds.intraparenchymal,
    }
    return [makers[name](rng, size) for name in _LAYERS if name in shown]


def _inner_table(atlas: Atlas, toward: np.ndarray) -> np.ndarray:
    """The point of the inner table in a direction from the head's middle, MNI mm [3]."""
    steps = np.arange(30.0, 120.0)
    points = MNI_CENTER[:, None] + np.outer(toward / np.linalg.norm(toward), steps)
    outside = np.flatnonzero(atlas.inner.at(points) > 0)
    return points[:, outside[0] if len(outside) else -1]


def _compose(
    atlas: Atlas, head: Head, patient: Patient, planned: list[bleeds.Bleed], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """HU float32 [N, h, w] before scanning, and each subtype's visible fraction of blood, float32 [N, h, w]."""
    brain = lay_brain(atlas, head, patient, [push for bleed in planned for push in bleed.pushes], rng)
    inner = brain_hu(head, brain, patient)
    bloods = [bleed.draw(head, brain, rng) for bleed in planned]
    visible = bleeds.add_bleeds(inner, bloods)
    hu = outside_hu(atlas, head, patient, rng)
    hu += head.inside * (inner - hu)
    fractions = {bleed.subtype: v * head.inside for bleed, v in zip(planned, visible, strict=True)}
    return hu, fractions


def _blood_bits(fractions: dict[str, np.ndarray], grid: ScanGrid) -> np.ndarray:
    """Bit i where at least half of a voxel is blood of SUBTYPES[i], uint8 [N, rows, rows]."""
    bits = np.zeros((grid.num_slices, grid.rows, grid.rows), dtype=np.uint8)
    for subtype, fraction in fractions.items():
        bit = np.uint8(1 << SUBTYPES.index(subtype))
        for index in np.flatnonzero((fraction >= 0.5).any(axis=(1, 2))):
            plane = cv2.resize(fraction[index], (grid.rows, grid.rows), interpolation=cv2.INTER_LINEAR)
            bits[index] |= np.where(plane >= 0.5, bit, np.uint8(0))
    return bits


def label_slices(blood: np.ndarray, *, pixel_area_mm2: float, min_area_mm2: float) -> np.ndarray:
    """Subtype labels uint8 [N, 5] of blood bits [N, H, W]: 1 where the area is more than `min_area_mm2`."""
    areas = np.stack(
        [np.count_nonzero(blood & (1 << bit), axis=(1, 2)) * pixel_area_mm2 for bit in range(len(SUBTYPES))], axis=1
    )
    return (areas > min_area_mm2).astype(np.uint8)


def _exam(
    options: CohortOptions, index: int, *, grid: ScanGrid, scanner: Scanner, image: np.ndarray, blood: np.ndarray
) -> Exam:
    return Exam(
        patient_id=_uid(8, options.seed, "patient", patient_of(index)),
        study_uid=_uid(10, options.seed, "study", index),
        series_uid=_uid(10, options.seed, "series", index),
        sop_uids=tuple(_uid(9, options.seed, "slice", index, k) for k in range(grid.num_slices)),
        hu=image,
        blood=blood,
        subtypes=label_slices(blood, pixel_area_mm2=grid.pixel_mm**2, min_area_mm2=options.min_blood_area_mm2),
        positions_mm=np.round(grid.positions, 6),
        orientation=tuple(float(round(v, 6)) for v in (*grid.row_direction, *grid.column_direction)),
        pixel_spacing_mm=(grid.pixel_mm, grid.pixel_mm),
        padded=scanner.padded,
    )


def _uid(digits: int, *parts: object) -> str:
    """ID_<hex>, as RSNA writes its identifiers."""
    text = "/".join(map(str, parts))
    return "ID_" + hashlib.sha256(text.encode()).hexdigest()[:digits]
