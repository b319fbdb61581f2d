"""Losses, a record each: probabilities and targets [B, L] to one number. Keras is imported where one is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ich_mlflow.labels import ANY

if TYPE_CHECKING:
    import keras

#: Where a label is so rare that its balancing weight would be larger, one slice must not outweigh a batch.
MAX_POSITIVE_WEIGHT = 20.0


@dataclass(frozen=True, kw_only=True)
class LossData:
    """What a loss is made for: the labels, the training slices' targets [N, L], and two hyperparameters."""

    labels: Sequence[str]
    targets: np.ndarray
    label_smoothing: float
    focal_gamma: float


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One loss.

    make      for some data, the Keras loss. text: what it is, for --help; '' where the name says it
    searched  whether a search that says nothing of losses tries it. needs_any: only with the label `any`
    """

    make: "Callable[[LossData], keras.losses.Loss]"
    text: str = ""
    searched: bool = True
    needs_any: bool = False


def _bce(data: LossData) -> "keras.losses.Loss":
    import keras

    return keras.losses.BinaryCrossentropy(label_smoothing=data.label_smoothing)


def _focal(data: LossData) -> "keras.losses.Loss":
    import keras

    return keras.losses.BinaryFocalCrossentropy(gamma=data.focal_gamma, label_smoothing=data.label_smoothing)


def _weighted_bce(data: LossData) -> "keras.losses.Loss":
    return _weighted(data, positives=positive_weights(data.targets).tolist(), labels=[1.0] * len(data.labels))


def _log_loss_rsna(data: LossData) -> "keras.losses.Loss":
    weights = [2.0 if label == ANY else 1.0 for label in data.labels]
    return _weighted(data, positives=[1.0] * len(data.labels), labels=weights)


def _factorised(data: LossData) -> "keras.losses.Loss":
    from ich_mlflow.models.factorised_crossentropy import FactorisedCrossentropy

    return FactorisedCrossentropy(any_at=list(data.labels).index(ANY))


def _weighted(data: LossData, *, positives: list[float], labels: list[float]) -> "keras.losses.Loss":
    from ich_mlflow.models.weighted_crossentropy import WeightedBinaryCrossentropy

    return WeightedBinaryCrossentropy(
        positive_weights=positives, label_weights=labels, label_smoothing=data.label_smoothing
    )


#: focal: Lin et al., ICCV 2017. log_loss_rsna: RSNA 2019's metric, `any` weighs 2, each subtype 1.
LOSSES: dict[str, Loss] = {
    "bce": Loss(make=_bce),
    "weighted_bce": Loss(
        make=_weighted_bce, text="all positives of a label together weigh as much as its negatives"
    ),
    "focal": Loss(make=_focal),
    "log_loss_rsna": Loss(
        make=_log_loss_rsna, text="any has the weight 2; needs 6 classes", searched=False, needs_any=True
    ),
}
#: Of any bleed, and of each subtype given a bleed: a head brings it with it (slice_cnn/heads.py), nobody asks for it.
FACTORISED = Loss(make=_factorised, searched=False, needs_any=True)


def losses_text() -> str:
    """Each loss's name, with what it is in parentheses."""
    return ", ".join(f"{name} ({one.text})" if one.text else name for name, one in LOSSES.items())


def make_loss(
    name: str,
    *,
    labels: Sequence[str],
    targets: np.ndarray,
    label_smoothing: float = 0.0,
    focal_gamma: float = 2.0,
    brought: Loss | None = None,
) -> "keras.losses.Loss":
    """The loss of that name in LOSSES.

    targets: of the training slices [N, L], 0 or 1; weighted_bce takes its weights from them. focal_gamma: of focal,
    0 or more. brought: the loss that the network's head brings with it, which is taken in the place of the named one.
    Raises ValueError for another name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}, expected one of {', '.join(LOSSES)}")
    data = LossData(labels=labels, targets=targets, label_smoothing=label_smoothing, focal_gamma=focal_gamma)
    return (brought or LOSSES[name]).make(data)


def positive_weights(targets: np.ndarray) -> np.ndarray:
    """Negative slices for each positive one [L], 1 to 20; 1 for a label without positives."""
    positive = np.asarray(targets).sum(axis=0)
    weights = (len(targets) - positive) / np.maximum(positive, 1)
    return np.where(positive > 0, np.clip(weights, 1.0, MAX_POSITIVE_WEIGHT), 1.0)


def prior_logits(targets: np.ndarray) -> np.ndarray:
    """The logit of each label's share in the targets [N, L]: float64 [L], of shares held to 0.0001 … 0.9999.

    As the output's bias it lets training begin at the prevalences instead of one half. Source: Lin et al.,
    ICCV 2017, 4.1.
    """
    return _logits(np.asarray(targets, dtype=np.float64).mean(axis=0))


def factorised_prior_logits(targets: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The same of any's share in the targets, and of each subtype's share in the slices that show a bleed."""
    targets = np.asarray(targets, dtype=np.float64)
    bleeds = targets[:, list(labels).index(ANY)]
    given = (targets * bleeds[:, None]).sum(axis=0) / max(bleeds.sum(), 1.0)
    return _logits(np.where([label == ANY for label in labels], bleeds.mean(), given))


def _logits(shares: np.ndarray) -> np.ndarray:
    shares = np.clip(shares, 1e-4, 1 - 1e-4)
    return np.log(shares / (1 - shares))
