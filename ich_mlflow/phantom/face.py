"""Hints of the skull base and face, for the lowest slices: petrous bone, mastoids, orbits, sinuses, ears.

Simple solids in MNI mm, placed by eye beside real head CT; no anatomical model stands behind them.
"""

import numpy as np

from ich_mlflow.phantom.geometry import edge

_WALL_HU = 750
_SINUS_HU = -980


def paint_face(
    hu: np.ndarray, mni: np.ndarray, inner_mm: np.ndarray, skin: np.ndarray, texture: np.ndarray
) -> None:
    """Paint over HU [N, H, W] in place, outside the cranial cavity (inner_mm > 0).

    mni [3, N, H, W] and skin (signed distance to the head's surface) in mm; texture is noise of SD 1.
    """
    x, y, z = mni
    _petrous_and_mastoid(hu, np.abs(x), y, z, texture)
    _clivus_and_atlas(hu, x, y, z)
    _jaw_and_cheekbone(hu, np.abs(x), y, z)
    _maxillary_sinus(hu, np.abs(x), y, z)
    _nose_and_ethmoid(hu, x, y, z, texture)
    _frontal_sinus(hu, x, y, z, inner_mm)
    for side in (-1, 1):
        _orbit(hu, side * x, y, z, inner_mm, skin)
    _ear(hu, np.abs(x), y, z, skin)


def _paint(hu: np.ndarray, fraction: np.ndarray, value: float | np.ndarray) -> None:
    hu += fraction * (value - hu)


def _ball(x: np.ndarray, y: np.ndarray, z: np.ndarray, center: tuple, axes: tuple) -> np.ndarray:
    """Signed distance, roughly, to an ellipsoid."""
    squares = ((x - center[0]) / axes[0]) ** 2 + ((y - center[1]) / axes[1]) ** 2 + ((z - center[2]) / axes[2]) ** 2
    return (np.sqrt(squares) - 1) * np.float32(min(axes))


def _petrous_and_mastoid(
    hu: np.ndarray, side: np.ndarray, y: np.ndarray, z: np.ndarray, texture: np.ndarray
) -> None:
    along = side - 20  # the pyramid runs from the clivus outward and back
    ridge = np.hypot(y - (-14 - 0.42 * along), (z + 37) * 1.1) - (5 + 0.10 * along)
    _paint(hu, edge(np.maximum(ridge, np.abs(along - 20) - 24), 3), 1350)
    mastoid = _ball(side, y, z, (56, -36, -45), (12, 15, 18))
    _paint(hu, edge(mastoid, 3), 950)
    cells = edge(mastoid + 2.5, 2) * np.clip(0.2 + 1.4 * texture, 0, 1)
    _paint(hu, cells, -700)
    canal = np.maximum(np.hypot(y + 22, z + 42) - 3.5, np.abs(side - 62) - 16)
    _paint(hu, edge(canal, 2), -950)


def _clivus_and_atlas(hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    clivus = np.hypot((y - (4 + 0.5 * (z + 40))) / 0.7, x / 1.8) - 9
    _paint(hu, edge(np.maximum(clivus, z + 28), 3) * (z > -75), 600)
    sphenoid = np.maximum(np.abs(np.abs(x) - 8) - 7.0, np.hypot(y - 20, (z + 36) * 1.1) - 11)
    _paint(hu, edge(sphenoid - 1.5, 2), _WALL_HU)
    _paint(hu, edge(sphenoid, 2), _SINUS_HU)
    wing = np.abs(y - (30 - 0.12 * np.abs(x))) - 2.5
    wing = np.maximum(wing, np.maximum(np.abs(z + 30) - 12, np.abs(np.abs(x) - 38) - 24))
    _paint(hu, edge(wing, 2), 900)
    arch = np.abs(np.hypot(x / 1.25, y + 42) - 21) - 3.5
    _paint(hu, edge(np.maximum(arch, np.abs(z + 78) - 6), 3), 850)


def _jaw_and_cheekbone(hu: np.ndarray, side: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    jaw = np.hypot((side - 50) / 1.0, (y + 6 - 0.3 * (z + 60)) / 1.9) - 4.5
    _paint(hu, edge(np.maximum(jaw, z + 50), 2.5), 1000)
    arch = np.abs(np.hypot(side / 1.0, (y - 8) / 1.05) - 62) - 2.3
    arch = np.maximum(arch, np.maximum(np.abs(z + 52) - 6, -y - 15))
    _paint(hu, edge(np.maximum(arch, 34 - side), 2.5), 1100)
    _paint(hu, edge(_ball(side, y, z, (40, 54, -54), (9, 8, 10)), 2.5), 950)


def _maxillary_sinus(hu: np.ndarray, side: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
    sinus = _ball(side, y, z, (27, 52, -70), (13, 18, 16))
    _paint(hu, edge(sinus - 2.0, 2.5), _WALL_HU)
    _paint(hu, edge(sinus, 2.0), _SINUS_HU)


def _nose_and_ethmoid(
    hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, texture: np.ndarray
) -> None:
    side = np.abs(x)
    ethmoid = np.maximum(side - 12, np.maximum(np.abs(y - 52) - 22, np.abs(z + 42) - 13))
    _paint(hu, edge(ethmoid - 1.2, 2), 600)
    septa = np.minimum(np.abs((y + 2 * texture) % 11 - 5.5), np.abs(side - 6 + texture)) < 0.9
    _paint(hu, edge(ethmoid, 1.5), np.where(septa, 250, _SINUS_HU))
    _paint(hu, edge(np.maximum(side - 0.8, ethmoid), 1.0), 500)
    cavity = np.maximum(side - 13 * np.clip((96 - y) / 30, 0.2, 1), np.maximum(np.abs(y - 52) - 38, z + 54))
    turbinate = (np.abs(side - 6.5 + texture) < 2.0) & (y < 72)
    _paint(hu, edge(cavity - 1.0, 2), 350)
    _paint(hu, edge(cavity, 2), np.where(turbinate, 40, _SINUS_HU))
    _paint(hu, edge(np.maximum(side - 1.0, cavity), 1.2), 300)


def _frontal_sinus(
    hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, inner_mm: np.ndarray
) -> None:
    sinus = np.maximum(_ball(np.abs(x), y, z, (10, 76, -22), (13, 6, 13)), 2.0 - inner_mm)
    _paint(hu, edge(sinus - 2.0, 2) * (inner_mm > 0), 1100)
    _paint(hu, edge(sinus, 1.5) * (inner_mm > 1.5), _SINUS_HU)


def _orbit(
    hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, inner_mm: np.ndarray, skin: np.ndarray
) -> None:
    """One orbit, a cone of fat from the rim back to its apex, with globe, lens, nerve and muscles."""
    back = np.clip((74 - y) / 52, 0, 1.2)
    across = np.hypot(x - (33 - 18 * back), z - (-42 + 6 * back))
    radius = 19 - 13.5 * back
    cone = np.maximum(across - radius, 22 - y)
    outside = edge(-(inner_mm - 1.0), 1.5)
    _paint(hu, edge(cone - 2.0, 2) * outside * edge(skin + 12, 6) * (y < 70), 950)
    fat = edge(cone, 2) * outside * edge(skin + 3, 2)
    _paint(hu, fat, -85)
    muscle = np.abs(across - 0.72 * radius) - 1.3
    _paint(hu, fat * edge(muscle, 2) * (y < 62), 45)
    _paint(hu, fat * edge(across - 2.2, 1.5) * (y < 60), 36)
    globe = np.sqrt((x - 32) ** 2 + (y - 67) ** 2 + (z + 42) ** 2)
    _paint(hu, edge(globe - 12.0, 1.5) * outside, 44)
    _paint(hu, edge(globe - 10.6, 1.5) * outside, 12)
    _paint(hu, edge(_ball(x, y, z, (32, 76, -42), (4.5, 2.2, 4.5)), 1.2), 80)


def _ear(hu: np.ndarray, side: np.ndarray, y: np.ndarray, z: np.ndarray, skin: np.ndarray) -> None:
    shell = np.abs(np.hypot((side - 74) / 1.0, (y + 30) / 1.7) - 9) - 1.2
    shell = np.maximum(shell, np.maximum(np.abs(z + 40) - 20, 2 - skin))
    _paint(hu, edge(shell, 2) * (y < -24), 5)
