"""Bleeds drawn into the heads of a stored set, as a source: synthesis draws, this finds the heads and their numbers.

It stands beside the stored set that it reads, and the table of sources names it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ich_mlflow.dataset.split import FOLD, TEST, TRAIN
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, OptionError, SliceError, nearest
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.series.choice import SeriesChoice
from ich_mlflow.sources.base import NO_SKULL, LabelledFile, LabelLevel, Quarantined
from ich_mlflow.synthesis.anatomy import Anatomy, find_anatomy
from ich_mlflow.synthesis.draw import Drawn, draw

NAME = "drawn"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A series of the stored set, to be drawn into. name: its own, of which its identifiers are made.

    rows   table rows of the series in the set, from feet to head
    copy   0 and up, of variants of one series
    """

    name: str
    rows: np.ndarray
    copy: int


@dataclass
class _Memory:
    """The head and the variant that were drawn last: neighbours of a shard ask for them again."""

    head: tuple[int, Anatomy | None] | None = None
    variant: tuple[str, Drawn | None] | None = None


@dataclass(frozen=True)
class DrawnSource:
    """The bleed-free exams of a stored set, `copies` times each, with blood or sham edits drawn into them.

    root        a stored set with labels, not itself drawn
    subtypes    which are drawn, names of labels.SUBTYPES
    copies      variants of each series, 1 or more
    sham_share  share of the variants that get sham edits instead of blood, 0 to 1
    seed        of what is drawn

    Patients keep their ids; studies, series and slices get others. Heads are of patients outside the test split, and
    where the set has no folds, of the training split alone. Labels are known when a slice is drawn (Slice.subtypes):
    those of the listing are 0.
    """

    root: str
    subtypes: tuple[str, ...] = SUBTYPES
    copies: int = 1
    sham_share: float = 0.5
    seed: int = 0
    _memory: _Memory = field(default_factory=_Memory, init=False, repr=False, compare=False)
    name: ClassVar[str] = NAME
    label_level: ClassVar[LabelLevel] = "slice"
    overlap: ClassVar[str] = "its heads are of the stored set that it was drawn into"
    #: The first slice costs what its whole series does, and its neighbours nothing: samples are of neighbours.
    neighbours_share: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", str(self.root))
        unknown = [name for name in self.subtypes if name not in SUBTYPES]
        if unknown or not self.subtypes:
            said = f"{unknown[0]!r}" if unknown else "empty"
            raise OptionError(
                f"synthesis is {said}, expected some of {', '.join(SUBTYPES)}"
                f"{nearest(unknown[0], SUBTYPES) if unknown else ''}: pass -P synthesis={SUBTYPES[0]}"
            )
        if self.copies < 1:
            raise OptionError(f"copies is {self.copies}, expected 1 or more: pass -P copies=2")
        if not 0 <= self.sham_share <= 1:
            raise OptionError(f"sham_share is {self.sham_share}, expected 0 to 1: pass -P sham_share=0.5")

    def files(self) -> Sequence[LabelledFile]:
        """Every slice of every variant, variant by variant. Raises DataError where no head can be drawn into."""
        return [file for file, _, _ in self._listing.values()]

    def rejected(self) -> Sequence[Quarantined]:
        """Nothing: what can't be drawn into is seen when it is tried."""
        return ()

    def audit(self) -> dict[str, int]:
        """Counts: heads (series that are drawn into), variants and slices."""
        return {
            "heads": len(self._heads),
            "variants": len(self._heads) * self.copies,
            "slices": len(self._listing),
        }

    def chosen_series(self) -> Sequence[SeriesChoice]:
        """None: every series of a head is drawn into."""
        return ()

    def read(self, file: LabelledFile) -> Slice:
        """Draw one slice. Raises SliceError where no skull is found in its series."""
        _, variant, number = self._listing[file.sop_uid]
        drawn = self._draw(variant)
        row = self.stored.table.iloc[variant.rows[number]]
        if drawn is None:
            raise SliceError(
                f"in series {row.series_uid} of {self.root} no closed skull is found in four slices: nothing is drawn "
                "into it",
                reason=NO_SKULL,
            )
        spacing = (float(row.row_spacing_mm), float(row.column_spacing_mm))
        return Slice(
            hu=drawn.hu[number],
            sop_uid=file.sop_uid,
            patient_id=row.patient_id,
            study_uid=f"{variant.name}_study",
            series_uid=f"{variant.name}_series",
            position_mm=float(row.position_mm),
            pixel_spacing_mm=None if np.isnan(spacing).any() else spacing,
            blood=drawn.blood[number],
            subtypes=tuple(int(one) for one in drawn.subtypes[number]),
        )

    def before(self, sop_uids: Sequence[str]) -> np.ndarray:
        """The slices as they were before they were drawn into, HU int16 [n, 256, 256]."""
        places = [self._listing[uid] for uid in sop_uids]
        return self.stored.hu(np.array([variant.rows[number] for _, variant, number in places]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root, self.subtypes, self.copies, self.sham_share, self.seed)

    @cached_property
    def stored(self) -> StoredSet:
        """The set that is drawn into. Raises DataError where it is none, is itself drawn, or has no labels."""
        stored = StoredSet.open(Path(self.root))
        if stored.manifest["source"] == NAME:
            raise DataError(
                f"{self.root} is itself drawn, expected a set of real heads: pass the set it was made of"
            )
        if stored.manifest.get("label_level") == "none":
            raise DataError(
                f"{self.root} has no labels, so that nothing says which heads bleed: pass a set with labels"
            )
        return stored

    @cached_property
    def _heads(self) -> list[np.ndarray]:
        """Table rows of each series that is drawn into."""
        table = self.stored.table
        with_folds = bool((table[FOLD] >= 0).any())
        usable = (table["split"] != TEST) if with_folds else (table["split"] == TRAIN)
        bleeds = table[list(SUBTYPES)].any(axis=1)
        of_study = bleeds.groupby([table["patient_id"], table["study_uid"]]).transform("any")
        rows = np.flatnonzero(usable & ~of_study)
        if not len(rows):
            raise DataError(
                f"{self.root} has no exam without a bleed {'outside test' if with_folds else 'in its training split'}, "
                "expected one or more to draw into: pass another set"
            )
        return self.stored.whole_series(rows)

    @cached_property
    def _listing(self) -> dict[str, tuple[LabelledFile, Variant, int]]:
        """Each slice, its variant and its place in the series, by sop_uid."""
        found: dict[str, tuple[LabelledFile, Variant, int]] = {}
        home = self.stored.table["sop_uid"].to_numpy()
        for rows in self._heads:
            for copy in range(self.copies):
                variant = Variant(name=self._variant_name(str(home[rows[0]]), copy), rows=rows, copy=copy)
                for number in range(len(rows)):
                    uid = f"{variant.name}_{number:04d}"
                    file = LabelledFile(
                        sop_uid=uid, path=uid, subtypes=(0, 0, 0, 0, 0), num_bytes=0, modified_ns=0
                    )
                    found[uid] = (file, variant, number)
        return found

    def _variant_name(self, first: str, copy: int) -> str:
        """Differs with the set, the options, and the series: two drawn sets share no slice."""
        parts = (self.stored.digest, first, copy, ",".join(self.subtypes), self.sham_share, self.seed)
        return f"DRAWN_{hashlib.sha256('/'.join(map(str, parts)).encode()).hexdigest()[:16]}"

    def _draw(self, variant: Variant) -> Drawn | None:
        if self._memory.variant is None or self._memory.variant[0] != variant.name:
            anatomy = self._anatomy(variant.rows)
            rng = np.random.default_rng([self.seed, int(variant.name.removeprefix("DRAWN_"), 16)])
            sham = bool(rng.random() < self.sham_share)
            drawn = None if anatomy is None else draw(anatomy, self.subtypes, rng, sham=sham)
            self._memory.variant = (variant.name, drawn)
        return self._memory.variant[1]

    def _anatomy(self, rows: np.ndarray) -> Anatomy | None:
        first = int(rows[0])
        if self._memory.head is None or self._memory.head[0] != first:
            table = self.stored.table.iloc[rows]
            spacing = table[["row_spacing_mm", "column_spacing_mm"]].to_numpy().mean()
            pixel_mm = None if np.isnan(spacing) else float(spacing)
            positions = table["position_mm"].to_numpy()
            self._memory.head = (first, find_anatomy(self.stored.hu(rows), positions, pixel_mm))
        return self._memory.head[1]
