"""What drawing needs to know of a real head, found in its series: depth, brain, CSF, ventricles, midline, noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from ich_mlflow.synthesis.cavity import find_cavity

#: CSF is darker than the brain around it by this much; partial volume in thick slices leaves no more of sulci.
_CSF_BELOW_BRAIN_HU = 11.0
CSF_HU = 6.0
#: Where the ventricles lie below the inside of the vertex: above are sulci, below the cisterns.
_VENTRICLES_MM = (28.0, 68.0)
_VENTRICLE_DEPTH_MM = 22.0
#: Bone may brighten the pixels as near to the inner table as this.
MAY_BE_MIXED = 3.2
#: What is brighter than brain by this, as near to the inner table, is bone that lies partly in the slice.
_ROOF_HU, _ROOF_MM = 22.0, 9.0
#: Turns of the head that are looked through for its midline, degrees.
_TURNS = 40


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A head in its series. Arrays are float32 [n, H, W] where nothing else is said, lengths in mm.

    hu          the series
    drawable    bool [n], slices with a closed space inside the skull
    inside      bool, the space inside the skull
    edge        signed distance to the inner table in the slice's plane: positive inside
    depth       about the distance to the inner table in three dimensions: the vault slopes, so it is nearer
    tissue      the series with what is beside or in bone replaced by what lies next to it inside: no bone mixed in
    smooth      the series without its noise, from -50 to 120 HU
    brain_hu    what brain has in this series
    csf         share of CSF, 0 to 1
    ventricles  bool
    across, back, down  from the midline (positive towards higher columns), from the middle towards the back, and
                below the inside of the vertex
    pixel_mm, step_mm   in the plane, and between slices
    noise_hu, noise_pixels, psf_pixels  standard deviation of the noise, how far it is alike, the image's sharpness
    """

    hu: np.ndarray
    drawable: np.ndarray
    inside: np.ndarray
    edge: np.ndarray
    depth: np.ndarray
    tissue: np.ndarray
    smooth: np.ndarray
    brain_hu: float
    csf: np.ndarray
    ventricles: np.ndarray
    across: np.ndarray
    back: np.ndarray
    down: np.ndarray
    pixel_mm: float
    step_mm: float
    noise_hu: float
    noise_pixels: float
    psf_pixels: float


def find_anatomy(hu: np.ndarray, position_mm: np.ndarray, pixel_mm: float | None) -> Anatomy | None:
    """The anatomy of a series, hu [n, H, W] in Hounsfield units from feet to head at position_mm [n].

    pixel_mm: None where it isn't known; it is then estimated. None where the skull of too few slices (4) is found.
    """
    hu = np.asarray(hu, np.float32)
    cavity = find_cavity(hu, pixel_mm)
    if cavity.drawable.sum() < 4:
        return None
    inside, pixel, drawable = cavity.inside, cavity.pixel_mm, cavity.drawable
    steps = np.diff(np.asarray(position_mm, float))
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 5.0
    edge = _signed_distance(inside) * np.float32(pixel)
    smooth = np.stack([cv2.GaussianBlur(np.clip(image, -50, 120), (0, 0), 0.9) for image in hu])
    deep = inside & (edge > 6)
    brain_hu = float(np.median(smooth[deep]))
    across, back = _from_midline(smooth, inside, drawable, pixel)
    top = int(np.flatnonzero(drawable)[-1])
    down = ((top - np.arange(len(hu), dtype=np.float32)) * step + 8)[:, None, None]
    csf = np.clip((brain_hu - smooth) / (brain_hu - CSF_HU), 0, 1) * inside
    dark = deep & (smooth < brain_hu - _CSF_BELOW_BRAIN_HU)
    noise_hu, noise_pixels = _noise(hu, deep & ~dark)
    return Anatomy(
        hu=hu,
        drawable=drawable,
        inside=inside,
        edge=edge,
        depth=_depth(edge, drawable, step),
        tissue=np.stack(
            [_without_bone(*each, pixel, brain_hu) for each in zip(hu, inside, edge, strict=True)]
        ),
        smooth=smooth,
        brain_hu=brain_hu,
        csf=csf.astype(np.float32),
        ventricles=_ventricles(dark, edge, across, back, np.broadcast_to(down, hu.shape), pixel, step),
        across=across,
        back=back,
        down=np.ascontiguousarray(np.broadcast_to(down, hu.shape)),
        pixel_mm=pixel,
        step_mm=step,
        noise_hu=noise_hu,
        noise_pixels=noise_pixels,
        psf_pixels=_sharpness(hu[drawable]),
    )


def _signed_distance(inside: np.ndarray) -> np.ndarray:
    """Signed distance in pixels to the mask's outline, a slice at a time, and -50 where there is no mask."""
    found = np.full(inside.shape, -50, np.float32)
    for number in np.flatnonzero(inside.any(axis=(1, 2))):
        mask = inside[number].astype(np.uint8)
        within, beyond = (cv2.distanceTransform(one, cv2.DIST_L2, 5) for one in (mask, 1 - mask))
        signed = np.where(mask > 0, within - 0.5, 0.5 - beyond)
        found[number] = cv2.GaussianBlur(signed, (0, 0), 1.2)
    return found


def _depth(edge: np.ndarray, drawable: np.ndarray, step_mm: float) -> np.ndarray:
    """Distance to the inner table by first order: in the plane, over the length of its gradient in space."""
    slope = np.zeros_like(edge)
    numbers = np.flatnonzero(drawable)
    if len(numbers) > 1:
        slope[numbers] = np.gradient(edge[numbers], step_mm, axis=0)
    slope = np.stack([cv2.GaussianBlur(image, (0, 0), 4.0) for image in slope])
    return edge / np.sqrt(1 + np.clip(slope, -3, 3) ** 2)


def _without_bone(
    image: np.ndarray, inside: np.ndarray, edge: np.ndarray, pixel_mm: float, brain_hu: float
) -> np.ndarray:
    """The image with what lies farther inside in place of pixels that bone brightens; CSF beside bone stays CSF."""
    pure = inside & (edge > MAY_BE_MIXED * pixel_mm)
    if not pure.any():
        return image
    rows, columns = ndimage.distance_transform_edt(~pure, return_distances=False, return_indices=True)
    # Roofs of orbits and ridges that lie partly in the slice stay where they are: they are no tissue to displace.
    limited = np.clip(image, -60, np.where(edge < _ROOF_MM, brain_hu + _ROOF_HU, 400))
    farther = cv2.GaussianBlur(limited, (0, 0), 0.8)[rows, columns]
    # What is darker than what lies farther inside is CSF: bone would brighten it.
    return np.where(pure, limited, np.minimum(limited, farther))


def _from_midline(
    smooth: np.ndarray, inside: np.ndarray, drawable: np.ndarray, pixel_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """(across, back): mm from the plane about which the series is most like its mirror image, and along it."""
    numbers = np.flatnonzero(drawable)
    chosen = numbers[np.linspace(0.25 * (len(numbers) - 1), 0.9 * (len(numbers) - 1), 6).astype(int)]
    rows, columns = np.nonzero(inside[chosen].any(axis=0))
    centre = np.array([columns.mean(), rows.mean()])
    images = [np.where(inside[k], np.clip(smooth[k], 0, 80), 80).astype(np.float32) for k in chosen]

    def unlike(turn: float, shift: float, side: int) -> float:
        move = cv2.getRotationMatrix2D(tuple(centre), turn, side / 256)
        move[:, 2] += (side / 2 - centre[0] - shift * side / 256, side / 2 - centre[1])
        turned = [cv2.warpAffine(one, move, (side, side), borderValue=80) for one in images]
        return float(np.mean([np.abs(one - one[:, ::-1]).mean() for one in turned]))

    tries = [(unlike(t, s, 64), t, s) for t in range(-_TURNS, _TURNS + 1, 4) for s in (-8, -4, 0, 4, 8)]
    _, coarse_turn, coarse_shift = min(tries)
    finer = [
        (unlike(coarse_turn + t, coarse_shift + s, 128), coarse_turn + t, coarse_shift + s)
        for t in (-3, -1.5, 0, 1.5, 3)
        for s in (-3, -1, 1, 3)
    ]
    _, turn, shift = min(finer)
    y, x = np.mgrid[: smooth.shape[1], : smooth.shape[2]].astype(np.float32)
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    x, y = x - centre[0], y - centre[1]
    across = ((cos * x + sin * y) - shift) * pixel_mm
    back = (-sin * x + cos * y) * pixel_mm
    return tuple(np.broadcast_to(one.astype(np.float32), smooth.shape) for one in (across, back))  # type: ignore[return-value]


def _ventricles(
    dark: np.ndarray,
    edge: np.ndarray,
    across: np.ndarray,
    back: np.ndarray,
    down: np.ndarray,
    pixel_mm: float,
    step_mm: float,
) -> np.ndarray:
    """Deep CSF that hangs together and reaches near the midline, between sulci and cisterns; a mask."""
    side = np.where(back > 5, 38, 26)
    deep = dark & (edge > _VENTRICLE_DEPTH_MM) & (np.abs(across) < side)
    deep &= (down > _VENTRICLES_MM[0]) & (down < _VENTRICLES_MM[1])
    labels, count = ndimage.label(deep)
    if not count:
        return deep
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * pixel_mm**2 * step_mm
    nearest = ndimage.minimum(np.abs(across), labels, np.arange(count + 1))
    good = (volumes > 250) & (nearest < 12)
    good[0] = False
    return good[labels]


def _noise(hu: np.ndarray, tissue: np.ndarray) -> tuple[float, float]:
    """(standard deviation in HU, width in pixels) of the noise in tissue: what differs from its surroundings."""
    image = np.clip(hu, -50, 120)
    rough = np.stack([one - cv2.GaussianBlur(one, (0, 0), 2.0) for one in image])
    pairs = tissue[:, :, 1:] & tissue[:, :, :-1]
    if not pairs.any():
        return 2.0, 0.7
    left, right = rough[:, :, :-1][pairs], rough[:, :, 1:][pairs]
    deviation = float(1.4826 * np.median(np.abs(rough[tissue])))
    alike = float(np.clip(np.mean(left * right) / max(np.mean(left**2), 1e-6), 0.02, 0.9))
    # White noise blurred by a Gaussian of s pixels is alike by exp(-1 / 4 s^2) a pixel on.
    return deviation, float(np.clip(np.sqrt(1 / (-4 * np.log(alike))), 0.25, 1.5))


def _sharpness(hu: np.ndarray) -> float:
    """The Gaussian's width in pixels that blurs a sharp edge as this image does, by the steepest rise into bone."""
    image = hu[len(hu) // 2]
    horizontal = np.abs(cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=1) / 2)
    span = cv2.dilate(image, np.ones((1, 7), np.uint8)) - cv2.erode(image, np.ones((1, 7), np.uint8))
    steep = (span > 600) & (horizontal >= np.quantile(horizontal, 0.995))
    if not steep.any():
        return 0.7
    return float(np.clip(np.median(span[steep] / horizontal[steep]) / np.sqrt(2 * np.pi), 0.5, 1.3))
