"""What blood looks like on CT: fresh, faint, mixed, layered, old.

Attenuation: clot 55 to 85 HU, thin or unclotted blood 42 to 54; hypodense pockets in a clot that still bleeds; cells
that sink below plasma; after one to three weeks as brain and then darker. Source: Osborn's Brain (2017), ch. 2 and 5.
"""

import numpy as np

from ich_mlflow.phantom.second.planes import Planes

STYLES = ("fresh", "faint", "mixed", "layered", "old")
#: How often each style, by subtype.
_SHARES = {
    "epidural": (0.62, 0.1, 0.28, 0.0, 0.0),
    "intraparenchymal": (0.65, 0.2, 0.15, 0.0, 0.0),
    "intraventricular": (0.55, 0.2, 0.0, 0.25, 0.0),
    "subarachnoid": (0.45, 0.55, 0.0, 0.0, 0.0),
    "subdural": (0.42, 0.14, 0.2, 0.14, 0.1),
}


def draw_style(subtype: str, rng: np.random.Generator) -> str:
    """A style of STYLES, about as often as the subtype has it."""
    return str(rng.choice(STYLES, p=_SHARES[subtype]))


def blood_hu(style: str, planes: Planes, rng: np.random.Generator) -> np.ndarray:
    """HU float32 [p, h, w] that blood of the style has wherever it is."""
    fresh, thin = rng.uniform(55, 85), rng.uniform(42, 54)
    value = {"faint": thin, "old": rng.uniform(14, 40)}.get(style, fresh)
    hu = np.float32(value) + 2.5 * planes.texture
    if style == "mixed":
        pockets = np.clip(0.5 + 0.9 * planes.gyral, 0, 1)
        hu -= pockets * np.float32(fresh - rng.uniform(25, 42))
    if style == "layered":
        # The patient is supine: cells sink to the back, behind a level.
        level = np.clip((planes.y - rng.uniform(-45, 0)) / rng.uniform(2, 25) + 0.5, 0, 1)
        hu -= level * np.float32(fresh - rng.uniform(18, 40))
    return hu.astype(np.float32)
