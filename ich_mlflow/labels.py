"""The haemorrhage subtypes, their order, and the class schemes.

Every array [..., 5] in the project follows SUBTYPES; every array [..., L] follows ClassScheme.labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ich_mlflow.errors import OptionError

#: RSNA 2019's column order, without `any`.
SUBTYPES: tuple[str, ...] = (
    "epidural",
    "intraparenchymal",
    "intraventricular",
    "subarachnoid",
    "subdural",
)
ANY = "any"


@dataclass(frozen=True, kw_only=True)
class ClassScheme:
    """Which labels a model predicts, in order.

    Whatever the labels, the scheme's findings have `any`: it is what a worklist acts on. Arrays of findings are
    [..., F], of labels [..., L].
    title: the same in words.
    """

    num_classes: int
    title: str
    labels: tuple[str, ...]

    @property
    def model_name(self) -> str:
        """Name in the MLflow model registry: ich-4class, ich-5class, ich-6class."""
        return f"ich-{self.num_classes}class"

    @property
    def findings(self) -> tuple[str, ...]:
        """What is calibrated, decided and measured: the labels, and any after them where it is none of them."""
        return findings_of(self.labels)

    def targets(self, subtypes: np.ndarray) -> np.ndarray:
        """Targets float32 [N, L] of the labels, from subtype labels [N, 5] in SUBTYPES order (0 or 1)."""
        return self._columns(subtypes, self.labels)

    def finding_targets(self, subtypes: np.ndarray) -> np.ndarray:
        """Targets bool [N, F] of the findings, from subtype labels [N, 5].

        any is of all five subtypes, also of those that the scheme has no label for: a bleed that the model can't name
        is a bleed that it misses.
        """
        return self._columns(subtypes, self.findings).astype(bool)

    def _columns(self, subtypes: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        subtypes = np.asarray(subtypes)
        if subtypes.ndim != 2 or subtypes.shape[1] != len(SUBTYPES):
            raise ValueError(f"subtype labels have shape {subtypes.shape}, expected [N, {len(SUBTYPES)}]")
        columns = [
            subtypes.any(axis=1) if label == ANY else subtypes[:, SUBTYPES.index(label)] for label in labels
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def unrepresented(self, subtypes: np.ndarray) -> np.ndarray:
        """Mask bool [N] of the slices whose every bleed is of a subtype this scheme leaves out.

        To the scheme such a slice looks like a normal one, though blood is on it.
        """
        subtypes = np.asarray(subtypes).astype(bool)
        kept = [SUBTYPES.index(label) for label in self.labels if label != ANY]
        return np.any(subtypes, axis=1) & ~np.any(subtypes[:, kept], axis=1)


def findings_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, and any after them where it is none of them."""
    return tuple(dict.fromkeys((*labels, ANY)))


def with_any(outputs: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """What a network says of the findings [N, F], from its outputs [N, L] of the labels.

    Where any is no label of the network it gets the highest of the outputs: what speaks most for a bleed.
    """
    outputs = np.asarray(outputs)
    return outputs if ANY in labels else np.column_stack([outputs, outputs.max(axis=1)])


SCHEMES: dict[int, ClassScheme] = {
    4: ClassScheme(num_classes=4, title="no epidural", labels=SUBTYPES[1:]),
    5: ClassScheme(num_classes=5, title="the subtypes", labels=SUBTYPES),
    6: ClassScheme(num_classes=6, title="the subtypes and any", labels=(*SUBTYPES, ANY)),
}


def class_scheme(num_classes: int) -> ClassScheme:
    """The scheme of that many classes. Raises OptionError where there is none."""
    try:
        return SCHEMES[num_classes]
    except KeyError:
        raise OptionError(
            f"num_classes is {num_classes!r}, expected {schemes_text()}: pass -P num_classes=5"
        ) from None


def schemes_text() -> str:
    """`4 (no epidural), 5 (the subtypes) or 6 (the subtypes and any)`."""
    *others, last = [f"{number} ({scheme.title})" for number, scheme in SCHEMES.items()]
    return f"{', '.join(others)} or {last}"


def scheme_of_labels(labels: Sequence[str]) -> ClassScheme:
    """The scheme with exactly these labels in this order. Raises OptionError if there is none."""
    for scheme in SCHEMES.values():
        if scheme.labels == tuple(labels):
            return scheme
    raise OptionError(f"no class scheme has the labels {list(labels)}; known: {sorted(SCHEMES)}")
