"""The second edition's exam: its pixels and the masks of its blood."""

from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.anatomy import AIR, upsample
from ich_mlflow.phantom.grid import COARSE, Geometry, Pose
from ich_mlflow.phantom.second import bleeds
from ich_mlflow.phantom.second.blood import blood_hu, draw_style
from ich_mlflow.phantom.second.brain import Infarct, brain_share, paint_brain
from ich_mlflow.phantom.second.patient import Patient
from ich_mlflow.phantom.second.planes import DEPTHS, Planes, Tissue, sample_planes, sample_tissue
from ich_mlflow.phantom.second.scanner import Acquisition, acquire
from ich_mlflow.phantom.second.skull import Findings, Plane, paint_skull
from ich_mlflow.phantom.shapes import inside, paint
from ich_mlflow.phantom.template import load_template

#: A pixel shows blood where so much of the slice's thickness is blood.
_SHOWN = 0.4
_OEDEMA_HU = 18.0
#: What a push of so many mm leaves of the CSF around it is a third.
_EFFACED_MM = 4.0


@dataclass(frozen=True, kw_only=True)
class Blood:
    """Blood of one subtype: its share and HU, float32 [p, h, w], and on which slices it shows, bool [n]."""

    share: np.ndarray
    hu: np.ndarray
    mask: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """hu: int16 [n, rows, rows]. blood: bool [5, n, rows, rows], in SUBTYPES order; a slice has a mask or no blood."""

    hu: np.ndarray
    blood: np.ndarray


def turn(pose: Pose, rng: np.random.Generator) -> Pose:
    """The pose, turned and rolled as heads in a trauma room lie: mostly by less than 15 degrees, at most by 30."""
    yaw, roll = np.deg2rad(np.clip(rng.normal(0, (9, 5)), -30, 30))
    around_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    around_y = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
    return Pose(linear=pose.linear @ around_z @ around_y, centre=pose.centre)


def render(
    geometry: Geometry,
    pose: Pose,
    present: list[bool],
    *,
    least_area_mm2: float,
    body: np.random.Generator,
    visit: np.random.Generator,
) -> Rendered:
    """Render an exam. present: which subtypes, in SUBTYPES order.

    Of a subtype whose blood would cover no more than the least area on a slice, the slice shows none: neither pixels
    nor mask nor label. body: what is the patient's, visit: what is the exam's.
    """
    patient = Patient.draw(body)
    warps, findings = body.integers(2**31, size=2), np.random.default_rng(patient.findings_seed)
    acquisition = Acquisition.draw(visit)
    planes = sample_planes(
        load_template(), geometry, turn(pose, visit), patient.unevenness_mm, np.random.default_rng(warps[0])
    )
    found = _axial_and_lesions(planes, present, visit)
    push = _push(list(found.values()))
    tissue = sample_tissue(load_template(), planes, push, np.random.default_rng(warps[1]))
    if present[SUBTYPES.index("intraventricular")]:
        found["intraventricular"] = bleeds.intraventricular(planes, tissue, patient.ventricle_mm, visit)
    if present[SUBTYPES.index("subarachnoid")]:
        found["subarachnoid"] = bleeds.subarachnoid(planes, tissue, visit)
    shown = {
        name: _shown(name, found[name].share, planes, geometry, least_area_mm2, visit)
        for name in SUBTYPES
        if name in found
    }
    images = _planes_hu(
        planes, tissue, push, patient, shown, Infarct.draw(findings), Findings.draw(findings), visit
    )
    return _scanned(images, planes, geometry, acquisition, shown, visit)


def _axial_and_lesions(
    planes: Planes, present: list[bool], rng: np.random.Generator
) -> dict[str, bleeds.Bleed]:
    """The bleeds that push, which come before the tissue is sampled."""
    makers = {
        "epidural": bleeds.epidural,
        "intraparenchymal": bleeds.intraparenchymal,
        "subdural": bleeds.subdural,
    }
    return {name: make(planes, rng) for name, make in makers.items() if present[SUBTYPES.index(name)]}


def _push(found: list[bleeds.Bleed]) -> list[np.ndarray] | None:
    pushes = [bleed.push for bleed in found if bleed.push is not None]
    return [sum(push[i] for push in pushes[1:]) + pushes[0][i] for i in range(3)] if pushes else None


def _shown(
    name: str,
    share: np.ndarray,
    planes: Planes,
    geometry: Geometry,
    least_area_mm2: float,
    rng: np.random.Generator,
) -> Blood:
    """The blood on the slices where it covers more than the least area."""
    mean = share.reshape(-1, DEPTHS, *share.shape[1:]).mean(axis=1)
    mask = np.zeros((geometry.num_slices, geometry.rows, geometry.rows), bool)
    for number, one in enumerate(mean):
        if one.max() > _SHOWN:
            mask[number] = upsample(_whole(one, planes, geometry, 0.0)) > _SHOWN
    shown = mask.sum(axis=(1, 2)) * geometry.pixel_mm**2 > least_area_mm2
    mask[~shown] = False
    kept = share * np.repeat(shown, DEPTHS)[:, None, None]
    return Blood(share=kept, hu=blood_hu(draw_style(name, rng), planes, rng), mask=mask, shown=shown)


def _planes_hu(
    planes: Planes,
    tissue: Tissue,
    push: list[np.ndarray] | None,
    patient: Patient,
    shown: dict[str, Blood],
    infarct: Infarct,
    findings: Findings,
    rng: np.random.Generator,
) -> np.ndarray:
    """HU float32 [n, h, w]: each slice the mean of its planes."""
    brain = brain_share(planes, tissue, patient)
    if push is not None:
        effaced = np.clip(np.sqrt(push[0] ** 2 + push[1] ** 2 + push[2] ** 2) / _EFFACED_MM, 0, 0.85)
        brain = brain + (1 - brain) * effaced * inside(planes.cavity_mm + 0.5)
    white = tissue.white / np.maximum(tissue.tissue, 0.05)
    lesion = shown.get("intraparenchymal")
    oedema = None if lesion is None else bleeds.oedema_rim(lesion.share, planes, rng)
    images = np.empty(planes.x.shape, np.float32)
    for number in range(len(images)):
        plane = Plane.of(planes, number)
        image = paint_skull(plane, patient, findings)
        inner = paint_brain(
            plane, brain[number], white[number], tissue.ventricle_mm[number], patient, infarct
        )
        if oedema is not None:
            paint(inner, oedema[number], _OEDEMA_HU)
        paint(image, inside(plane.cavity_mm, plane.edge), inner)
        for one in shown.values():
            if one.shown[number // DEPTHS]:
                paint(image, one.share[number], one.hu[number])
        images[number] = image
    return images.reshape(-1, DEPTHS, *images.shape[1:]).mean(axis=1)


def _scanned(
    images: np.ndarray,
    planes: Planes,
    geometry: Geometry,
    acquisition: Acquisition,
    shown: dict[str, Blood],
    rng: np.random.Generator,
) -> Rendered:
    hu = np.empty((geometry.num_slices, geometry.rows, geometry.rows), np.int16)
    blood = np.zeros((len(SUBTYPES), *hu.shape), bool)
    for name, one in shown.items():
        blood[SUBTYPES.index(name)] = one.mask
    heights = planes.z.reshape(len(images), -1).mean(axis=1)
    for number, image in enumerate(images):
        whole = upsample(_whole(image, planes, geometry, AIR))
        base = float(np.clip((-18 - heights[number]) / 15, 0, 1))
        hu[number] = acquire(whole, acquisition, pixel_mm=geometry.pixel_mm, base=base, rng=rng)
    return Rendered(hu=hu, blood=blood)


def _whole(crop: np.ndarray, planes: Planes, geometry: Geometry, outside: float) -> np.ndarray:
    """The crop [h, w] in a whole plane [rows / 2, rows / 2]."""
    size = geometry.rows // COARSE
    top, left = planes.rows.start, planes.columns.start
    return cv2.copyMakeBorder(
        crop.astype(np.float32), top, size - top - crop.shape[0], left, size - left - crop.shape[1],
        cv2.BORDER_CONSTANT, value=outside,
    )  # fmt: skip
