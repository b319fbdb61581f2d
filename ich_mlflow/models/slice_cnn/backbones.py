"""The backbones, a record each. Needs no Keras before one is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A kind of backbone.

    build: of keras.applications, or called like it. title: as people write it. file: that of its ImageNet weights; ''
    where there are none. taps: layers whose maps are 1/4, 1/8, 1/16 and 1/32 of the image, for pretraining; empty where
    it takes none. searched: whether a search that says nothing of backbones tries it.
    """

    build: Callable[..., Any]
    title: str
    file: str = ""
    taps: tuple[str, ...] = ()
    searched: bool = False


def _application(name: str) -> Callable[..., Any]:
    """The function of keras.applications, looked up when it is called."""

    def build(**arguments: Any) -> Any:
        import keras

        return getattr(keras.applications, name)(**arguments)

    return build


def _lite0(*, include_top: bool, weights: str | None, input_shape: tuple[int | None, ...]) -> Any:
    """EfficientNet-Lite0 in the manner of keras.applications; its ImageNet weights come with the package."""
    from ich_mlflow.models.slice_cnn.lite0 import build_lite0
    from ich_mlflow.models.weights import put_weights, read_weights, shipped_path

    assert not include_top
    network = build_lite0(input_shape=input_shape)
    if weights is not None:
        put_weights(network, read_weights(shipped_path(f"{LITE0}-{weights}")).arrays)
    return network


LITE0 = "efficientnet-lite0"
_EFFICIENTNET_TAPS = ("block2b_add", "block3b_add", "block5c_add", "top_activation")
#: Tan and Le 2019; Tan and Le 2021; Liu et al. 2022. All take pixels in [0, 255].
BACKBONES: dict[str, Backbone] = {
    "efficientnet-b0": Backbone(
        build=_application("EfficientNetB0"),
        title="EfficientNet-B0",
        file="efficientnetb0_notop.h5",
        taps=_EFFICIENTNET_TAPS,
        searched=True,
    ),
    LITE0: Backbone(
        build=_lite0,
        title="EfficientNet-Lite0",
        file=f"{LITE0}-imagenet.npz",
        taps=_EFFICIENTNET_TAPS,
        searched=True,
    ),
    "efficientnetv2-b0": Backbone(
        build=_application("EfficientNetV2B0"),
        title="EfficientNetV2-B0",
        file="efficientnetv2-b0_notop.h5",
    ),
    "convnext-tiny": Backbone(
        build=_application("ConvNeXtTiny"),
        title="ConvNeXt-Tiny",
        file="convnext_tiny_notop.h5",
    ),
}


def pretrainable() -> tuple[str, ...]:
    """Names of the backbones that pretraining can teach: those with taps."""
    return tuple(name for name, backbone in BACKBONES.items() if backbone.taps)
