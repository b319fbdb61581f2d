"""Which subgroup each slice of a test split is in, where the table can tell."""

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.subgroups import Grouping, score_subgroups, terciles, thirds
from ich_mlflow.stages.common.results import PREFIX
from ich_mlflow.stages.common.scoring import Scored
from ich_mlflow.stages.evaluate.lesions import lesion_areas
from ich_mlflow.tracking.run import Run

#: Steps between slices are put into groups of half a millimetre.
_STEP_MM = 0.5


def log_subgroups(run: Run, scored: Scored) -> pd.DataFrame:
    """Score and log the subgroups of the slices; an empty table where labels are of whole studies."""
    if scored.slices is None:
        return pd.DataFrame()
    table = score_subgroups(scored.slices, groupings(scored))
    if len(table):
        run.table(table, f"tables/{PREFIX}_subgroups.json")
    return table


def groupings(scored: Scored) -> list[Grouping]:
    """By pixel spacing, slice step, number of bleeds on the slice and, on phantoms, area of the bleed."""
    table = scored.stored.table.iloc[scored.rows]
    # a stored slice has 256 pixels where the file mostly has 512
    spacing = table[["row_spacing_mm", "column_spacing_mm"]].max(axis=1).to_numpy()
    num_bleeds = scored.stored.subtypes[scored.rows].sum(axis=1)
    counted = np.select([num_bleeds == 1, num_bleeds > 1], ["1 subtype", "2 or more subtypes"], "")
    found = [
        Grouping(name="pixel spacing at 256x256", groups=terciles(spacing, "mm")),
        Grouping(name="slice step", groups=_steps(table)),
        Grouping(name="bleeds on the slice", groups=counted, positives_only=True),
    ]
    areas = lesion_areas(scored)
    if areas is not None:
        groups = np.stack([thirds(column) for column in areas.T], axis=1)
        found.append(Grouping(name="area of the bleed, third", groups=groups, positives_only=True))
    return [grouping for grouping in found if (grouping.groups != "").any()]


def _steps(table: pd.DataFrame) -> np.ndarray:
    """The median distance between neighbouring slices of the series, in words, str [N]; '' where it is not known."""
    positions = table.groupby("series_uid")["position_mm"]
    step = positions.transform(lambda mm: np.median(np.diff(np.sort(mm))) if len(mm) > 1 else np.nan)
    rounded = (step / _STEP_MM).round() * _STEP_MM
    return np.array(["" if np.isnan(mm) else f"{mm:g} mm" for mm in rounded])
