"""Weights as files that come with the package: arrays named by layer, and a note of how they were made.

    ich_mlflow_weights/<backbone>-<start>.npz   `<layer>/<number>` of each weight, and `about`, JSON as bytes

What pretrain writes for users has `ancestry`, too: what the weights have learned from, as bytes.

No pickle is read or written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import IMAGENET, PHANTOMS, Ancestry
from ich_mlflow.system.whole import write_whole
from ich_mlflow_weights import FOLDER

#: Arrays of a file that are no weights.
_ABOUT, _ANCESTRY = "about", "ancestry"
#: What starts have learned from that involve no patient, by their name, which ends the name of a shipped file.
WITHOUT_PATIENTS = {
    "random": Ancestry(),
    "imagenet": Ancestry((IMAGENET,)),
    "phantom": Ancestry((PHANTOMS,)),
}


@dataclass(frozen=True, kw_only=True)
class ShippedWeights:
    """arrays: float32 by `<layer>/<number>`; about: how they were made; ancestry: None where nothing tells."""

    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Any]
    ancestry: Ancestry | None = None


def shipped_path(name: str) -> Path:
    """Where weights such as `efficientnet-b0-phantom` come with the package, whether or not they do."""
    return FOLDER / f"{name}.npz"


def features_path(name: str) -> Path:
    """Where the Gaussian of the features of such a network comes with the package, whether or not it does."""
    return FOLDER / f"{name}-features.npz"


def write_weights(
    path: Path,
    network: keras.Model,
    about: Mapping[str, Any],
    *,
    half: bool,
    ancestry: Ancestry | None = None,
) -> None:
    """Write the network's weights. half: kernels as float16; vectors, batch statistics among them, stay float32.

    ancestry: what they have learned from, None to say nothing.
    """
    arrays = {
        f"{layer.name}/{number}": weight.astype(np.float16) if half and weight.ndim > 1 else weight
        for layer in network.layers
        for number, weight in enumerate(layer.get_weights())
    }
    arrays[_ABOUT] = np.frombuffer(json.dumps(dict(about), indent=1).encode(), np.uint8)
    if ancestry is not None:
        arrays[_ANCESTRY] = np.frombuffer(ancestry.to_bytes(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_weights(path: Path) -> ShippedWeights:
    """Read weights. Raises ModelError where the file is missing or no such file.

    A file of the package that says nothing of its ancestry has no patients in it, which its name tells.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file[_ABOUT].tobytes())
            names = [name for name in file.files if name not in (_ABOUT, _ANCESTRY)]
            arrays = {name: file[name].astype(np.float32) for name in names}
            said = file[_ANCESTRY].tobytes() if _ANCESTRY in file else None
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: install ich_mlflow again") from None
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ModelError(
            f"{path} can't be read ({type(error).__name__}), expected weights by name: install ich_mlflow again"
        ) from None
    ancestry = None if said is None else Ancestry.from_bytes(said)
    return ShippedWeights(arrays=arrays, about=about, ancestry=ancestry or _shipped_ancestry(path))


def _shipped_ancestry(path: Path) -> Ancestry | None:
    is_shipped = path.resolve().parent == FOLDER.resolve()
    return WITHOUT_PATIENTS.get(path.stem.rsplit("-", 1)[-1]) if is_shipped else None


def put_weights(network: keras.Model, arrays: Mapping[str, np.ndarray], *, partly: bool = False) -> int:
    """Give each layer the arrays of its name; return how many layers were given some.

    Arrays of other layers are passed over, as a head's are by a backbone. partly: so are layers without arrays, which
    keep what they have. Raises ModelError where a shape does not fit, or unless partly a layer has no arrays.
    """
    given = 0
    for layer in network.layers:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        weights = [
            arrays[name] for number in range(len(shapes)) if (name := f"{layer.name}/{number}") in arrays
        ]
        if partly and not weights:
            continue
        if [weight.shape for weight in weights] != shapes:
            raise ModelError(
                f"layer {layer.name} takes weights of shapes {shapes}, found {[weight.shape for weight in weights]}: "
                "they are those of another network"
            )
        if shapes:
            layer.set_weights(weights)
            given += 1
    return given


#: In `about` of the weights: pixels a side that the demonstration models see, and their framing; without one `image`.
IMAGE_SIZE_NOTE = "demonstration_image_size"
FRAMING_NOTE = "framing"


def specification_name(backbone: str, num_classes: int, learned_from: str = "phantom") -> str:
    """Name of the file beside the weights that says what a demonstration model of that many classes is packed with."""
    return f"{backbone}-{learned_from}-{num_classes}class.json"
