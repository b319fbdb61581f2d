"""The seam: all that the rest of the project knows of a model family.

A family is a folder beside this module. In it are `hyperparameters` (its own dataclass, and its recipes), `reader`
(what is served; it needs no Keras) and `training` (how a network is built, what it learns from, and how it is packed).
registry.py names them; docs/adding/family.md says how one is added.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ich_mlflow.models.feature_distance import FeatureGaussian


@dataclass(frozen=True, eq=False)
class Reading:
    """What a network says of a series: slices float32 [n, L]; exam float32 [L], None where it says nothing of exams;
    lesions float32 [n, h, w, 5], the share of each cell of a slice that is blood of each of SUBTYPES, None where it
    doesn't say; distance float32 [n], how unlike each slice is what was learned from, None where it doesn't say."""

    slices: np.ndarray
    exam: np.ndarray | None = None
    lesions: np.ndarray | None = None
    distance: np.ndarray | None = None


class Reader(Protocol):
    """A trained network of a model version, opened. Safe to share by threads."""

    def read(self, hu: np.ndarray, position_mm: np.ndarray) -> Reading:
        """What is said of a series hu [n, 256, 256], position_mm [n], in order from the neck up."""


class Explainer(Protocol):
    """A reader that can also say where in a slice it finds what speaks for a label.

    finds_blood: whether its maps are lesion maps, the share of each cell that is blood of the label, 0 to 1; else they
    say what speaks for it (above 0) and against it.
    """

    @property
    def finds_blood(self) -> bool: ...

    def explained(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is said of slices float32 [B, L], and saliency maps float32 [B, L, h, w], of HU [B, 256, 256, K]."""


class Told(Protocol):
    """What a reader is told of its model version: the labels of its outputs, and how many neighbours a slice has."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def context(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Network:
    """A trained network that is to be packed.

    keras       its Keras model
    write       writes into a folder what the family's reader opens
    difference  the largest difference between what a reader of that folder says and what Keras says, on samples
    pooled      pooled features float32 [B, D] of HU [B, 256, 256, 1 + 2 * context]; None of a family without
    features    the Gaussian of them over what was learned from, which is written beside the network; None without
    """

    keras: Any
    write: Callable[[Path], None]
    difference: Callable[[Any], float]
    pooled: Callable[[np.ndarray], np.ndarray] | None = None
    features: FeatureGaussian | None = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model family.

    text          what it is, for --help
    open          what `write` left, as a Reader, by a runtime's name
    recipe        name of its recipe that is trained where none is said
    demo_recipe   the same of the phantom cohort that is made where no data are said; empty: as elsewhere
    options       names of options of train and tune that mean something to it, and nothing to a family without them
    reads_series  whether what it says of a slice always depends on the slices around it
    says_exams    whether it says something of an exam itself
    """

    name: str
    text: str
    open: Callable[[Path, str, Told], Reader]
    recipe: str
    demo_recipe: str = ""
    options: tuple[str, ...] = ()
    reads_series: bool = False
    says_exams: bool = False

    @property
    def hyperparameters(self) -> type:
        """The dataclass Hyperparameters of the family's module of that name."""
        found: type = self._module("hyperparameters").Hyperparameters
        return found

    @property
    def recipes(self) -> dict[str, Any]:
        """Its hyperparameters by a recipe's name: RECIPES of the module of its hyperparameters."""
        found: dict[str, Any] = self._module("hyperparameters").RECIPES
        return found

    @property
    def fixed_by_recipe(self) -> dict[str, tuple[str, ...]]:
        """What makes a recipe, so that no option may contradict it: FIXED_BY_RECIPE of the same module."""
        found: dict[str, tuple[str, ...]] = self._module("hyperparameters").FIXED_BY_RECIPE
        return found

    @property
    def training(self) -> Any:
        """The family's module of that name: imported where something is trained, since it needs Keras."""
        return self._module("training")

    def _module(self, name: str) -> Any:
        # Not by an import statement: a serving machine, which opens readers, has none of what these need.
        return importlib.import_module(f"{__package__}.{self.name}.{name}")


def member_folders(folder: Path, members: int) -> list[Path]:
    """Where the networks of a model version lie: one in its folder itself, several in a folder each."""
    return [folder] if members == 1 else [folder / f"member-{number}" for number in range(members)]
