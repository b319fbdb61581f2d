"""A slice under its heat map, as a picture."""

import base64

import cv2
import numpy as np

from ich_mlflow.ct.resample import pad_to_square
from ich_mlflow.ct.window import BRAIN, apply_windows

#: How much of the slice the highest saliency covers.
MAX_ALPHA = 0.8


def heat_map_png(hu: np.ndarray, saliency: np.ndarray, *, is_share: bool = False) -> str:
    """What overlay makes of them, as base64 of a PNG."""
    picture = overlay(hu, saliency, is_share=is_share)
    _, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return base64.b64encode(png.tobytes()).decode()


def overlay(hu: np.ndarray, saliency: np.ndarray, *, is_share: bool = False) -> np.ndarray:
    """HU [H, W] in the brain window under a saliency map [h, w], uint8 RGB [S, S, 3], S = max(H, W).

    What speaks against the label (below 0) is left out, and the map is scaled to its own maximum: colours say where,
    not how much. Where nothing speaks for the label, the slice alone. is_share: of a lesion map, whose numbers are
    shares of 1 already.
    """
    image = grey(hu).astype(np.float32)
    highest = 1.0 if is_share else float(saliency.max())
    if highest > 0:
        height, width = image.shape[:2]
        low = np.maximum(saliency, 0).astype(np.float32) / highest
        share = cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR)
        colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)
        alpha = MAX_ALPHA * share[..., None]
        image = (1 - alpha) * image + alpha * cv2.cvtColor(colours, cv2.COLOR_BGR2RGB).astype(np.float32)
    return np.rint(image).astype(np.uint8)


def grey(hu: np.ndarray) -> np.ndarray:
    """HU [H, W] in the brain window, padded square with air as the network sees them, uint8 RGB [S, S, 3]."""
    values = apply_windows(pad_to_square(hu), (BRAIN,))[..., 0].astype(np.uint8)
    return cv2.cvtColor(values, cv2.COLOR_GRAY2RGB)
