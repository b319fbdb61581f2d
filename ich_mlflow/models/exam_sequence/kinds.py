"""What can stand between projection and heads, a record each, in NumPy; network.BODIES has their Keras layers.

No Keras is imported here, not even within a function: serving reads this, and import-linter looks there, too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

#: Arrays of a network, by `<layer>/<number>` as Keras orders a layer's weights.
Arrays = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
#: Slices farther apart than this have the distance bias of this distance.
FARTHEST = 8


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of body. Its layers bear its name, with `_<number>` from 0 where there are `depth` of them.

    run       (hidden float64 [n, W], arrays, depth) -> [n, W * widening]
    shapes    (W, depth) -> the shape of each of its arrays
    text      what it is, for --help
    """

    run: Callable[[np.ndarray, Arrays, int], np.ndarray]
    shapes: Callable[[int, int], Shapes]
    text: str
    widening: int = 1


def _run_conv(hidden: np.ndarray, arrays: Arrays, depth: int) -> np.ndarray:
    for number in range(depth):
        kernel, bias = arrays[f"conv_{number}/0"], arrays[f"conv_{number}/1"]
        padded = np.pad(hidden, ((1, 1), (0, 0)))
        sums = sum(padded[step : step + len(hidden)] @ kernel[step] for step in range(3))
        hidden = hidden + np.maximum(sums + bias, 0)
    return hidden


def _conv_shapes(width: int, depth: int) -> Shapes:
    return {
        name: shape
        for number in range(depth)
        for name, shape in ((f"conv_{number}/0", (3, width, width)), (f"conv_{number}/1", (width,)))
    }


def _run_gru(hidden: np.ndarray, arrays: Arrays, depth: int) -> np.ndarray:
    weights = [arrays[f"gru/{number}"] for number in range(6)]
    upwards, downwards = _one_way(hidden, *weights[:3]), _one_way(hidden[::-1], *weights[3:])
    return np.concatenate([upwards, downwards[::-1]], axis=1)


def _one_way(inputs: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """States [n, W] of a GRU that resets after the product, gates in Keras' order: update, reset, candidate."""
    given = np.split(inputs @ kernel + bias[0], 3, axis=1)
    state, states = np.zeros(len(recurrent)), []
    for update, reset, candidate in zip(*given, strict=True):
        of_update, of_reset, of_candidate = np.split(state @ recurrent + bias[1], 3)
        keep = sigmoid(update + of_update)
        new = np.tanh(candidate + sigmoid(reset + of_reset) * of_candidate)
        state = keep * state + (1 - keep) * new
        states.append(state)
    return np.stack(states)


def _gru_shapes(width: int, depth: int) -> Shapes:
    one_way = [(width, 3 * width), (width, 3 * width), (2, 3 * width)]
    return {f"gru/{number}": shape for number, shape in enumerate(one_way * 2)}


def _run_attention(hidden: np.ndarray, arrays: Arrays, depth: int) -> np.ndarray:
    place = np.arange(len(hidden))
    distance = np.clip(place[None, :] - place[:, None], -FARTHEST, FARTHEST) + FARTHEST
    for number in range(depth):
        query, key, value, out, bias, by_distance = (arrays[f"attention_{number}/{i}"] for i in range(6))
        scores = (hidden @ query) @ (hidden @ key).T / np.sqrt(hidden.shape[1]) + by_distance[distance]
        attended = softmax(scores, axis=1) @ (hidden @ value)
        hidden = hidden + np.maximum(attended @ out + bias, 0)
    return hidden


def _attention_shapes(width: int, depth: int) -> Shapes:
    one = [(width, width)] * 4 + [(width,), (2 * FARTHEST + 1,)]
    return {f"attention_{number}/{i}": shape for number in range(depth) for i, shape in enumerate(one)}


#: gru: Cho et al., EMNLP 2014, as cuDNN computes it. attention: Vaswani et al., NeurIPS 2017, with the distance bias
#: of Raffel et al., JMLR 2020, a slice to a bucket.
KINDS: dict[str, Kind] = {
    "conv": Kind(
        run=_run_conv,
        shapes=_conv_shapes,
        text="residual convolutions, depth= of them, over three slices each",
    ),
    "gru": Kind(
        run=_run_gru,
        shapes=_gru_shapes,
        text="one recurrent layer in both directions",
        widening=2,
    ),
    "attention": Kind(
        run=_run_attention,
        shapes=_attention_shapes,
        text="depth= layers in which each slice attends to all slices, by what they show and how many slices "
        f"they are apart, up to {FARTHEST}",
    ),
}


def kinds_text() -> str:
    """Each kind's name, with what it is in parentheses."""
    return ", ".join(f"{name} ({one.text})" for name, one in KINDS.items())


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits of any size, without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1 + small)


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    """Shares along the axis, of scores of any size, without overflow."""
    shares = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return shares / shares.sum(axis=axis, keepdims=True)
