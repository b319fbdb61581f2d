"""How the slice CNN is trained: its batches, its network with the initial weights, and how it is packed."""

from functools import partial
from typing import Any

import keras
import numpy as np

from ich_mlflow.dataset.batches import Order, SliceBatches
from ich_mlflow.dataset.mixture import Pool, mixed
from ich_mlflow.dataset.sampling import balanced, natural_order, reachable_rates, seen
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.labels import ANY, SUBTYPES, ClassScheme
from ich_mlflow.models.losses import make_loss
from ich_mlflow.models.slice_cnn.augmentation import affine_matrices, augment_slices, num_draws
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import (
    build_classifier,
    set_batch_norm_momentum,
    synchronize_batch_norms,
)
from ich_mlflow.models.slice_cnn.heads import HEADS
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.models.slice_cnn.layers import logits_layer
from ich_mlflow.models.slice_cnn.lesion_batches import SlicesWithBlood
from ich_mlflow.models.slice_cnn.lesion_head import (
    BLOOD_PRIOR_LOGIT,
    CELL,
    LESIONS_OUTPUT,
    KnownLesionLoss,
)
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.task import Outputs, Prepared, Task
from ich_mlflow.models.weights import put_weights

#: Slices on which what is served is compared with Keras.
_SAMPLE = 6


def prepare(task: Task) -> Prepared:
    """The network with its initial weights, and the batches of its slices. Raises DataError as the batches do."""
    hyperparameters: Hyperparameters = task.hyperparameters
    pool = task.pool()
    batches = training_batches(
        pool, task.scheme, hyperparameters, seed=task.seed, replicas=task.replicas, shares=task.shares
    )
    validation = validation_batches(task.stored, task.validation_rows, task.scheme, hyperparameters)
    model = _build(task.scheme, hyperparameters, task.backbone())
    if hyperparameters.lesion_weight:
        _expect_masks(pool, task)
        model.get_layer(LESIONS_OUTPUT).bias.assign(np.full(len(SUBTYPES), BLOOD_PRIOR_LOGIT))
        put_weights(model, task.lesion_head(), partly=True)
    shown = batches.targets[batches.order]
    if hyperparameters.prior_bias:
        logits_layer(model).bias.assign(HEADS[hyperparameters.head].prior(shown, task.scheme.labels))
    if task.replicas > 1:
        synchronize_batch_norms(model)
    sample = task.rows[:: max(1, len(task.rows) // _SAMPLE)][:_SAMPLE]
    return Prepared(
        model=model,
        train=batches,
        validation=validation,
        loss=_loss(task, shown),
        told=Outputs,
        seen=partial(_seen, batches, pool, task.scheme),
        mirrored=validation.mirrored(),
        augmented=partial(_augmented, task.stored, hyperparameters),
        as_served=partial(_as_served, task.scheme, hyperparameters),
        pack=lambda served: network_of(served, task.stored.hu_with_context(sample, hyperparameters.context)),
    )


def _loss(task: Task, shown: np.ndarray) -> Any:
    """Of the labels, as training shows them [N, L]; with a lesion head a second one of where the blood is."""
    hyperparameters: Hyperparameters = task.hyperparameters
    of_labels = make_loss(
        hyperparameters.loss,
        labels=task.scheme.labels,
        targets=shown,
        label_smoothing=hyperparameters.label_smoothing,
        focal_gamma=hyperparameters.focal_gamma,
        brought=HEADS[hyperparameters.head].loss,
    )
    weight = hyperparameters.lesion_weight
    return [of_labels, KnownLesionLoss(weight)] if weight else of_labels


def _expect_masks(pool: Pool, task: Task) -> None:
    if not pool.blood_known(np.arange(len(pool))).any():
        raise DataError(
            f"lesion_weight is {task.hyperparameters.lesion_weight:g}, but no training slice of "
            f"{task.stored.path} has a mask of its blood: pass -P lesion_weight=0, or a set that preprocess made "
            "with masks (phantoms, or CT-ICH with its masks; a set from an earlier version has to be made again)"
        )


def _build(scheme: ClassScheme, hyperparameters: Hyperparameters, backbone: keras.Model) -> keras.Model:
    model = build_classifier(
        num_labels=len(scheme.labels),
        image_size=hyperparameters.image_size,
        framing=hyperparameters.framing,
        windows=hyperparameters.parsed_windows,
        context=hyperparameters.context,
        dense_units=hyperparameters.dense_units,
        dropout=hyperparameters.dropout,
        head=hyperparameters.head,
        backbone=backbone,
        taps=BACKBONES[hyperparameters.backbone].taps if hyperparameters.lesion_weight else (),
    )
    set_batch_norm_momentum(model, hyperparameters.batch_norm_momentum)
    return model


def _seen(batches: SliceBatches, pool: Pool, scheme: ClassScheme, epoch: int) -> dict[str, float]:
    assert batches.order_of is not None
    return seen(batches.targets, batches.order_of(epoch), pool.patients, scheme.labels)


def _augmented(
    stored: StoredSet, hyperparameters: Hyperparameters, rows: np.ndarray, seed: int
) -> np.ndarray:
    draws = np.random.default_rng(seed).random((len(rows), num_draws()))
    return augment_slices(stored.hu(rows)[..., None], draws, hyperparameters)[..., 0].astype(np.int16)


def _as_served(scheme: ClassScheme, hyperparameters: Hyperparameters, model: keras.Model) -> keras.Model:
    """The same weights in a float32 graph on one device."""
    backbone = build_backbone(
        name=hyperparameters.backbone,
        image_size=hyperparameters.image_size,
        num_slices=1 + 2 * hyperparameters.context,
    )
    served = _build(scheme, hyperparameters, backbone)
    served.set_weights(model.get_weights())
    return served


def training_batches(
    pool: Pool,
    scheme: ClassScheme,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    replicas: int = 1,
    shares: tuple[float, ...] = (),
) -> SliceBatches:
    """The batches of those slices: sampled and augmented as the hyperparameters say, by the seed.

    shares: of each set, where there are several. Raises DataError where `replicas` devices can't share a batch evenly.
    """
    size = pool.num_at_home
    if hyperparameters.batch_size % replicas or size < replicas:
        raise DataError(
            f"batch_size is {hyperparameters.batch_size} for {size} slices, expected a multiple of the {replicas} "
            f"GPUs: pass -P batch_size={replicas * max(1, hyperparameters.batch_size // replicas)}, or fewer GPUs by "
            "CUDA_VISIBLE_DEVICES"
        )
    of_slices: Any = SliceBatches
    if hyperparameters.lesion_weight:
        of_slices = partial(
            SlicesWithBlood,
            matrices=partial(affine_matrices, strengths=hyperparameters),
            cells=hyperparameters.image_size // CELL,
            framing=hyperparameters.framing,
        )
    batches: SliceBatches = of_slices(
        pool,
        np.arange(len(pool)),
        scheme.targets(pool.subtypes),
        batch_size=hyperparameters.batch_size,
        seed=seed,
        context=hyperparameters.context,
        order=_order(pool, scheme, hyperparameters, seed=seed, shares=shares),
        augment=partial(augment_slices, strengths=hyperparameters),
        num_draws=num_draws(),
        divisor=replicas,
        size=size,
    )
    return batches


def _order(
    pool: Pool, scheme: ClassScheme, hyperparameters: Hyperparameters, *, seed: int, shares: tuple[float, ...]
) -> Order:
    """Which slices an epoch shows; of several sets as many as home has."""
    size = pool.num_at_home
    if hyperparameters.sampling == "natural":
        if not shares:
            return lambda epoch: natural_order(size, seed=seed, epoch=epoch)
        sampler = mixed(pool, shares, size=size)
    else:
        subtypes = _subtypes(scheme.targets(pool.subtypes), scheme)
        rate = hyperparameters.sampling_rate or 1 / (subtypes.shape[1] + 1)
        if not shares:
            alone = balanced(subtypes, pool.patients, rate=rate, size=size)
            return lambda epoch: alone.order(seed=seed, epoch=epoch)
        sampler = mixed(pool, shares, size=size, targets=subtypes, rate=rate)
    return lambda epoch: sampler.order(seed=seed, epoch=epoch)


def reachable_sampling(stored: StoredSet, rows: np.ndarray, scheme: ClassScheme) -> tuple[float, float]:
    """The lowest and highest sampling_rate that those rows allow; 1, 0 where they allow none."""
    return reachable_rates(_subtypes(scheme.targets(stored.subtypes[rows]), scheme))


def _subtypes(targets: np.ndarray, scheme: ClassScheme) -> np.ndarray:
    return targets[:, [label != ANY for label in scheme.labels]]


def validation_batches(
    stored: StoredSet, rows: np.ndarray, scheme: ClassScheme, hyperparameters: Hyperparameters
) -> SliceBatches:
    """Those rows as they stand."""
    return SliceBatches(
        stored,
        rows,
        scheme.targets(stored.subtypes[rows]),
        batch_size=hyperparameters.batch_size,
        context=hyperparameters.context,
    )
