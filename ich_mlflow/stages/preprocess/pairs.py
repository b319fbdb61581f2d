"""A picture of drawn slices, each beside itself as it was."""

import numpy as np
from matplotlib.figure import Figure

from ich_mlflow.dataset.drawn import DrawnSource
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.stages.common.stored_sets import data_note

#: Of every subtype, and of slices without blood that were changed.
_PAIRS_EACH = 4


def pairs_figure(stored: StoredSet, source: DrawnSource) -> Figure:
    """Slices with each subtype and slices with sham edits alone, before and after, in the brain window."""
    groups = [np.flatnonzero(labels) for labels in stored.subtypes.T]
    groups.append(_sham_rows(stored))
    rows = [int(row) for group in groups for row in _spread(group)]
    after = stored.hu(np.array(rows))
    before = source.before(stored.table["sop_uid"].iloc[rows].tolist())
    hu = np.stack([before, after], axis=1).reshape(-1, *after.shape[1:])
    captions = [
        text for row in rows for text in ("before", present_text(stored, row, none="sham edit or none"))
    ]
    return contact_sheet(hu, captions, 4, title="Drawn slices beside what they were", note=data_note(stored))


def present_text(stored: StoredSet, row: int, *, none: str = "no bleed") -> str:
    """The subtypes of a slice, as a caption."""
    present = [name for name, value in zip(SUBTYPES, stored.subtypes[row], strict=True) if value]
    return ", ".join(present) or none


def _sham_rows(stored: StoredSet) -> np.ndarray:
    """Rows from the middle of the series without any blood."""
    table = stored.table
    bleeds = table[list(SUBTYPES)].any(axis=1).groupby(table["series_uid"]).transform("any")
    middle = table["position_fraction"].between(0.5, 0.85)
    found = np.flatnonzero(~bleeds & middle)
    return found if len(found) else np.flatnonzero(~bleeds | middle)


def _spread(group: np.ndarray) -> np.ndarray:
    return group[:: max(1, len(group) // _PAIRS_EACH)][:_PAIRS_EACH]
