"""What the network over series sees of a slice: what one network of the slices says of it, and makes of it."""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.models.logits import logit, mean_of_logits
from ich_mlflow.models.series import smoothed
from ich_mlflow.models.slice_cnn.reader import SliceReader


@dataclass(frozen=True)
class SliceModel:
    """One network of the version of the slices, and how that version looks: at mirror images, smoothed how far."""

    reader: SliceReader
    mirror: bool
    smoothing: str


def series_inputs(
    model: SliceModel, hu: np.ndarray, position_mm: np.ndarray, *, with_features: bool
) -> np.ndarray:
    """Inputs float32 [n, C] of a series hu [n, 256, 256], position_mm [n], in order from the neck up.

    The first L are the logits that the version says of the slice as it serves it, then those of the slice as it stands
    and of its mirror image, L each; with_features: then the units of the network's head, averaged over both.
    """
    straight, features = model.reader.read_features(hu)
    mirrored, mirrored_features = model.reader.read_features(hu[:, :, ::-1])
    served = mean_of_logits(straight, mirrored) if model.mirror else straight
    served = smoothed(served, position_mm, model.smoothing)
    parts = [logit(one.astype(np.float64)) for one in (served, straight, mirrored)]
    if with_features:
        parts.append((features + mirrored_features) / 2)
    return np.concatenate(parts, axis=1).astype(np.float32)
