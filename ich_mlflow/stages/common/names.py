"""Registered names: of which class scheme a model is, and whether it learned from phantoms, which are no patients."""

from ich_mlflow.labels import SCHEMES, class_scheme
from ich_mlflow.sources.registry import PHANTOM

_SUFFIX = f"-{PHANTOM}"
#: In the order in which a champion is looked for where none is named: real data before phantoms.
MODEL_NAMES = tuple(
    f"{SCHEMES[num_classes].model_name}{suffix}" for suffix in ("", _SUFFIX) for num_classes in (5, 4, 6)
)


def registered_name(num_classes: int, source: str) -> str:
    """`ich-5class`, or `ich-5class-phantom` of a model that learned from phantoms, whatever its initial weights."""
    return class_scheme(num_classes).model_name + (_SUFFIX if source == PHANTOM else "")


def num_classes_of(name: str) -> int:
    """Of one of MODEL_NAMES. Raises ValueError for another name."""
    for num_classes in SCHEMES:
        if name in (registered_name(num_classes, ""), registered_name(num_classes, PHANTOM)):
            return num_classes
    raise ValueError(f"name is {name!r}, expected one of {', '.join(MODEL_NAMES)}")


def is_of_phantoms(name: str) -> bool:
    """Whether models of that name learned from phantoms."""
    return name.endswith(_SUFFIX)
