"""A slice under its heat map, as a PNG for an answer."""

import base64

import cv2
import numpy as np

from ich_mlflow.ct.window import BRAIN, apply_windows

#: How much of the slice the highest saliency covers.
MAX_ALPHA = 0.8


def heat_map_png(hu: np.ndarray, saliency: np.ndarray) -> str:
    """HU [H, W] in the brain window under a saliency map [h, w], as base64 of a PNG [H, W, 3].

    What speaks against the label (below 0) is left out, and the map is scaled to its own maximum: colours say where,
    not how much. Where nothing speaks for the label, the slice alone.
    """
    grey = apply_windows(hu, (BRAIN,))[..., 0].astype(np.uint8)
    image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.float32)
    highest = float(saliency.max())
    if highest > 0:
        height, width = hu.shape
        low = np.maximum(saliency, 0).astype(np.float32) / highest
        share = cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR)
        colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
        alpha = MAX_ALPHA * share[..., None]
        image = (1 - alpha) * image + alpha * colours
    _, png = cv2.imencode(".png", np.rint(image).astype(np.uint8))
    return base64.b64encode(png.tobytes()).decode()
