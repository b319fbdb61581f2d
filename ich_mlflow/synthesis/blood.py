"""What blood looks like: Hounsfield units of a bleed, by its style.

Attenuation: fresh clot 60 to 85 HU, unclotted or anaemic blood 40 to 55, blood of one to three weeks like brain, later
darker; blood that has settled has a level, with cells (up to 75) below serum (20 to 40); active bleeds are mixed.
Source: Osborn's Brain (2017), ch. 2; Siddiqui et al., Emerg Radiol 24 (2017), 387-395.
"""

from collections.abc import Callable

import numpy as np

from ich_mlflow.phantom.shapes import smooth_noise
from ich_mlflow.synthesis.anatomy import Anatomy

#: What drawn blood has at the least and at the most, without the scanner's noise.
LOWEST_HU, HIGHEST_HU = 20.0, 85.0
#: Of an anatomy and the mask that the bleed is in about.
Field = Callable[[Anatomy, np.ndarray, np.random.Generator], np.ndarray]
#: Styles that are no brighter than brain: what they displace shows them.
SEEN_BY_SHAPE = ("isodense", "chronic")


def _even(low: float, high: float, texture: float) -> Field:
    def field(anatomy: Anatomy, within: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = smooth_noise(rng, anatomy.hu.shape, 48) + smooth_noise(rng, anatomy.hu.shape, 20)
        return np.float32(rng.uniform(low, high)) + np.float32(texture) * noise

    return field


def _mixed(anatomy: Anatomy, within: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clots in unclotted blood: two values, and between them a border in loops."""
    loops = smooth_noise(rng, anatomy.hu.shape, int(rng.integers(16, 36)))
    clotted = 1 / (1 + np.exp(-3 * (loops + rng.uniform(-0.6, 0.6))))
    low, high = rng.uniform(30, 42), rng.uniform(58, 76)
    return (low + (high - low) * clotted + 2 * smooth_noise(rng, anatomy.hu.shape, 60)).astype(np.float32)


def _layered(anatomy: Anatomy, within: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cells have settled towards the back of a supine patient; the level lies amid the bleed."""
    level = np.quantile(anatomy.back[within], rng.uniform(0.25, 0.65)) if within.any() else 0.0
    below = 1 / (1 + np.exp(-(anatomy.back - level) / rng.uniform(1.5, 5)))
    serum, cells = rng.uniform(24, 40), rng.uniform(58, 75)
    return (serum + (cells - serum) * below + 1.5 * smooth_noise(rng, anatomy.hu.shape, 40)).astype(
        np.float32
    )


#: Name -> how its Hounsfield units are drawn. Brain is about 35 HU: isodense blood shows by what it displaces.
STYLES: dict[str, Field] = {
    "acute": _even(58, 76, 3.0),
    "faint": _even(45, 56, 2.0),
    "mixed": _mixed,
    "layered": _layered,
    "isodense": _even(30, 40, 1.5),
    "chronic": _even(21, 27, 1.5),
}


def draw_blood(
    anatomy: Anatomy, styles: dict[str, float], rng: np.random.Generator, *, within: np.ndarray | None = None
) -> tuple[str, np.ndarray]:
    """(style, HU float32 [n, H, W], 20 to 85) of blood. styles: names and their weights. within: the bleed, about."""
    names, weights = list(styles), np.array(list(styles.values()), float)
    style = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    field = STYLES[style](anatomy, anatomy.inside if within is None else within, rng)
    return style, np.clip(field, LOWEST_HU, HIGHEST_HU).astype(np.float32)
