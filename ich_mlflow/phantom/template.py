"""The anatomy that every phantom is warped from: MNI152 grey and white matter, as nilearn carries them."""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

#: Voxels of air put around the maps, so that skull and scalp have room; mm, since voxels are 1 mm.
MARGIN = 24
#: Distances are smooth: every second voxel holds them.
DISTANCE_STEP = 2
#: The subarachnoid space between brain and inner table, mm.
SUBARACHNOID_MM = 2.0


@dataclass(frozen=True)
class Template:
    """Maps on a 1 mm grid (distances on a 2 mm grid), indexed [x, y, z], axes right-anterior-superior.

    tissue            grey plus white matter, 0 to 1
    white             white matter, 0 to 1
    cavity_mm         distance to the inner table, negative inside the skull
    ventricle_mm      distance to the wall of the ventricles, negative inside
    origin            template millimetres of voxel [0, 0, 0]
    """

    tissue: np.ndarray
    white: np.ndarray
    cavity_mm: np.ndarray
    ventricle_mm: np.ndarray
    origin: np.ndarray


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Build the template, once a process (about 4 s). Nothing is downloaded: the maps are files of nilearn's.

    Source: ICBM 2009 MNI152 (Fonov et al., NeuroImage 2011) through nilearn.datasets.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

        grey_image = load_mni152_gm_template(resolution=1)
        grey = np.asarray(grey_image.dataobj, dtype=np.float32)
        white = np.asarray(load_mni152_wm_template(resolution=1).dataobj, dtype=np.float32)
    grey, white = (np.pad(part, MARGIN) for part in (grey, white))
    tissue = np.clip(grey + white, 0, 1)
    origin = grey_image.affine[:3, 3] - MARGIN
    # Brain fades out at its lower end, where the average of many brains is blurred: a low threshold keeps it.
    coarse = tissue[::DISTANCE_STEP, ::DISTANCE_STEP, ::DISTANCE_STEP]
    cavity = _cavity((coarse > 0.35) | _suprasellar(coarse.shape, origin), origin)
    cavity_mm = _signed_distance(cavity) - SUBARACHNOID_MM
    ventricle_mm = _signed_distance(_ventricles(coarse, origin))
    return Template(
        tissue=tissue,
        white=white,
        cavity_mm=ndimage.gaussian_filter(cavity_mm, 1.0),
        ventricle_mm=ndimage.gaussian_filter(ventricle_mm, 0.5),
        origin=origin,
    )


@lru_cache(maxsize=1)
def smooth_cavity_mm() -> np.ndarray:
    """Distance to an inner table without the notch between frontal and temporal lobe, as Template.cavity_mm.

    Two thirds of the way to the closed shape above the skull base: skulls are rounder than brains.
    """
    template = load_template()
    cavity = template.cavity_mm < -SUBARACHNOID_MM
    z = _axes(cavity.shape, template.origin)[2]
    rounder = cavity | (_closed(cavity, 26) & (z > 2)) | (_closed(cavity, 14) & (z > -8))
    distance = ndimage.gaussian_filter(_signed_distance(rounder) - SUBARACHNOID_MM, 1.5)
    return np.asarray(template.cavity_mm + 0.67 * (distance - template.cavity_mm), dtype=np.float32)


def _cavity(brain: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The brain without its fissures: gaps up to 20 mm closed, and a dome where the hemispheres part above."""
    x, y, z = _axes(brain.shape, origin)
    dome = (x / 57) ** 2 + ((y + 18) / 66) ** 2 + ((z - 20) / 62) ** 2 < 1
    return _closed(brain, 10) | (dome & (z > 20))


def _closed(mask: np.ndarray, radius_mm: float) -> np.ndarray:
    dilated = ndimage.distance_transform_edt(~mask) * DISTANCE_STEP <= radius_mm
    return ndimage.distance_transform_edt(dilated) * DISTANCE_STEP > radius_mm


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the mask's edge in mm, negative inside; float32."""
    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    return ((outside - inside) * DISTANCE_STEP).astype(np.float32)


def _suprasellar(shape: tuple[int, ...], origin: np.ndarray) -> np.ndarray:
    """The cistern above the sella: wider than what closing fills, and no bone, bool."""
    x, y, z = _axes(shape, origin)
    return (x / 18) ** 2 + ((y + 4) / 18) ** 2 + ((z + 18) / 12) ** 2 < 1


def _axes(shape: tuple[int, ...], origin: np.ndarray) -> list[np.ndarray]:
    axes = [origin[i] + DISTANCE_STEP * np.arange(shape[i]) for i in range(3)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _ventricles(tissue: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The lateral, third and fourth ventricles: CSF within boxes that leave the cisterns out, bool."""
    x, y, z = _axes(tissue.shape, origin)
    side = np.abs(x)
    lateral = (z > -4) & (z < 30) & (y > -52) & (y < 36) & (side < 38) & (side > 2)
    vermis = (side < 11) & (y < -20) & (z < 18)
    insula = (side > 27) & (y > -30)
    third = (side < 4) & (y > -28) & (y < 6) & (z > -10) & (z < 8)
    fourth = (side < 10) & (y > -52) & (y < -33) & (z > -44) & (z < -24)
    boxes = (lateral & ~vermis & ~insula) | third | fourth
    return (tissue < 0.55) & boxes
