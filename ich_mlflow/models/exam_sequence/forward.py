"""The network over the slices of a series in NumPy, for serving machines, which have no Keras; network.py's twin.

<path>.npz   `about`, JSON as bytes with the kind; `<layer>/<number>` of each weight, as models.weights writes them:
             standardise  mean [C], scale [C]
             project      kernel [C, W], bias [W]
             ...          those of the kind
             slices       kernel [W', L], bias [L]
             exam         score [W', L], evidence [W', L], bias [L], sharper [L]
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ich_mlflow.errors import ModelError
from ich_mlflow.models.exam_sequence.kinds import KINDS, Arrays, Shapes, sigmoid, softmax

#: How much an untrained network prefers the slices with high logits when it pools: with 2, one of logit 3 has 99.9 %
#: of the say beside 600 of logit -4.
SHARPNESS = 2.0
#: Arrays of a file that are no weights.
_NO_WEIGHTS = ("about", "ancestry")
#: What NumPy, zipfile and zlib raise for files that are damaged or others.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    MemoryError,
    BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class SequenceNetwork:
    """A network over the slices of a series: its kind, one of KINDS, and its arrays by `<layer>/<number>`."""

    kind: str
    arrays: Arrays

    @classmethod
    def read(cls, path: Path) -> "SequenceNetwork":
        """Read what write_sequence wrote. Raises ModelError where the file is missing, damaged or another."""
        try:
            with np.load(path, allow_pickle=False) as file:
                kind = json.loads(file["about"].tobytes())["kind"]
                arrays = {name: file[name] for name in file.files if name not in _NO_WEIGHTS}
            _expect_whole(kind, arrays)
        except FileNotFoundError:
            raise ModelError(
                f"{path} is missing, expected the network over series: log the model again"
            ) from None
        except _DAMAGE as error:
            raise ModelError(
                f"{path} can't be read as a network over series ({type(error).__name__}: {error}), expected the file "
                "that training wrote: log the model again"
            ) from None
        return cls(kind, arrays)

    @property
    def num_inputs(self) -> int:
        """Inputs of a slice, the slice CNN's logits first."""
        return self.arrays["project/0"].shape[0]

    @property
    def num_labels(self) -> int:
        return self.arrays["slices/1"].shape[0]

    def run(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of slices float32 [n, L] and of the exam float32 [L], of one series [n, C] from the neck up.

        Raises ValueError for another shape, or no slice.
        """
        if inputs.ndim != 2 or not len(inputs) or inputs.shape[1] != self.num_inputs:
            raise ValueError(
                f"inputs are {list(inputs.shape)}, expected [n, {self.num_inputs}] with n of 1 or more: pass a row a "
                "slice of one series"
            )
        # float64: what is left between this and Keras is Keras' own rounding.
        series, of = np.asarray(inputs, dtype=np.float64), self.arrays
        hidden = (series - of["standardise/0"]) / of["standardise/1"]
        hidden = np.maximum(hidden @ of["project/0"] + of["project/1"], 0)
        hidden = KINDS[self.kind].run(hidden, of, _depth(self.kind, of))
        logits = series[:, : self.num_labels] + hidden @ of["slices/0"] + of["slices/1"]
        shares = softmax((SHARPNESS + of["exam/3"]) * logits + hidden @ of["exam/0"], axis=0)
        exam = (shares * (logits + hidden @ of["exam/1"])).sum(axis=0) + of["exam/2"]
        return sigmoid(logits).astype(np.float32), sigmoid(exam).astype(np.float32)


def _depth(kind: str, arrays: Arrays) -> int:
    """How many layers of the kind there are, by their numbered names."""
    return len({name.split("/")[0] for name in arrays if name.startswith(f"{kind}_")})


def _expect_whole(kind: str, arrays: Arrays) -> None:
    """Raise ValueError or KeyError where the arrays are not those of a whole network of the kind."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    (num_inputs, width), (num_labels,) = arrays["project/0"].shape, arrays["slices/1"].shape
    shapes = _shapes(kind, num_inputs, num_labels, width, _depth(kind, arrays))
    for name in sorted(shapes.keys() | arrays.keys()):
        if name not in shapes or name not in arrays or arrays[name].shape != shapes[name]:
            found = arrays[name].shape if name in arrays else "nothing"
            raise ValueError(f"{name} is {found}, expected {shapes.get(name, 'nothing')}")
        if arrays[name].dtype != np.float32 or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite float32")


def _shapes(kind: str, num_inputs: int, num_labels: int, width: int, depth: int) -> Shapes:
    head = (width * KINDS[kind].widening, num_labels)
    return {
        "standardise/0": (num_inputs,),
        "standardise/1": (num_inputs,),
        "project/0": (num_inputs, width),
        "project/1": (width,),
        **KINDS[kind].shapes(width, depth),
        "slices/0": head,
        "slices/1": (num_labels,),
        "exam/0": head,
        "exam/1": head,
        "exam/2": (num_labels,),
        "exam/3": (num_labels,),
    }
