"""The statistics of batch normalisation for weights that no batch has been normalised with: averaged ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ich_mlflow.dataset.batches import OrderedBatches
from ich_mlflow.models.slice_cnn.classifier import batch_norms
from ich_mlflow.training.progress import progress_bar

#: Most batches that statistics are averaged over. Of 32 slices, 50 hold a mean to a fortieth of a deviation; a whole
#: pass would cost a third of an epoch and say no more.
MOST_BATCHES = 50


class BatchStatistics:
    """Estimates a model's batch statistics anew, for whatever weights it has at the time.

    Those that training keeps follow the live weights; a network of averaged weights has other activations and would be
    normalised by another network's. Source: Izmailov et al., UAI 2018 (stochastic weight averaging), algorithm 1.
    jit: by XLA, as training is.
    """

    def __init__(self, model: keras.Model, *, jit: bool = False) -> None:
        self._norms = batch_norms(model)
        self._dropouts = [
            layer
            for layer in model._flatten_layers(include_self=False)
            if isinstance(layer, keras.layers.Dropout)
        ]
        (inputs,) = model.inputs
        self._network = keras.Model(inputs, _InTraining(model, name="in_training")(inputs))
        self._network.jit_compile = jit

    def estimate(self, batches: OrderedBatches) -> None:
        """Give every batch normalisation mean and variance averaged over the first full batches of the present epoch.

        At most MOST_BATCHES of them, as training saw them but for dropout. Without batch normalisation nothing is read.
        """
        if not self._norms:
            return
        num_batches = min(MOST_BATCHES, max(1, batches.num_slices // batches.batch_size))
        variables = [
            variable for norm in self._norms for variable in (norm.moving_mean, norm.moving_variance)
        ]
        sums = [np.zeros(variable.shape) for variable in variables]
        with self._one_batch_at_a_time(), progress_bar(num_batches, "batch statistics") as bar:
            for index in range(num_batches):
                inputs, _ = batches[index]
                self._network.predict_on_batch(inputs)
                for total, variable in zip(sums, variables, strict=True):
                    total += np.asarray(variable)
                bar.update()
        for total, variable in zip(sums, variables, strict=True):
            variable.assign(total / num_batches)

    @contextmanager
    def _one_batch_at_a_time(self) -> Iterator[None]:
        """Let the moving statistics be those of the last batch alone, and drop nothing."""
        momenta, rates = [norm.momentum for norm in self._norms], [one.rate for one in self._dropouts]
        for norm in self._norms:
            norm.momentum = 0.0
        for dropout in self._dropouts:
            dropout.rate = 0.0
        try:
            yield
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum
            for dropout, rate in zip(self._dropouts, rates, strict=True):
                dropout.rate = rate


class _InTraining(keras.layers.Layer):
    """A network as it trains, also where it predicts."""

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network

    def call(self, x: Any) -> Any:
        return self.network(x, training=True)
