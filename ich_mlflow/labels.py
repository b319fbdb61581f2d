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

    title: the same in words.
    """

    num_classes: int
    title: str
    labels: tuple[str, ...]

    @property
    def model_name(self) -> str:
        """Name in the MLflow model registry: ich-4class, ich-5class, ich-6class."""
        return f"ich-{self.num_classes}class"

    def targets(self, subtypes: np.ndarray) -> np.ndarray:
        """Targets float32 [N, L] from subtype labels [N, 5] in SUBTYPES order (0 or 1)."""
        subtypes = np.asarray(subtypes)
        if subtypes.ndim != 2 or subtypes.shape[1] != len(SUBTYPES):
            raise ValueError(f"subtype labels have shape {subtypes.shape}, expected [N, {len(SUBTYPES)}]")
        columns = [
            subtypes.any(axis=1) if label == ANY else subtypes[:, SUBTYPES.index(label)]
            for label in self.labels
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def unrepresented(self, subtypes: np.ndarray) -> np.ndarray:
        """Mask bool [N] of the slices whose every bleed is of a subtype this scheme leaves out.

        To the scheme such a slice looks like a normal one, though blood is on it.
        """
        subtypes = np.asarray(subtypes).astype(bool)
        kept = [SUBTYPES.index(label) for label in self.labels if label != ANY]
        return np.any(subtypes, axis=1) & ~np.any(subtypes[:, kept], axis=1)


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
