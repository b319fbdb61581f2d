"""How a model does on parts of the slices: by spacing, by number of bleeds, by size of the lesion."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.assess import Predictions

#: Subgroups are looked at for large gaps: their intervals need no third digit.
NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Which subgroup each row is in.

    groups          str [N] or [N, L] (a group for each label); '' for none
    positives_only  the groups divide positive rows only, and each is set against all negatives of its label
    """

    name: str
    groups: np.ndarray
    positives_only: bool = False


def score_subgroups(
    predictions: Predictions, groupings: list[Grouping], *, num_resamples: int = NUM_RESAMPLES
) -> pd.DataFrame:
    """One row a grouping, group and label that is estimable in it.

    Columns: grouping, group, label, num_positive, num_negative, patients (with a positive), auc, low, high,
    sensitivity, specificity (at the thresholds; specificity is NaN where all negatives are shared).
    """
    rows = []
    for grouping in groupings:
        groups = grouping.groups
        if groups.ndim == 1:
            groups = np.repeat(groups[:, None], len(predictions.labels), axis=1)
        for group in sorted(set(groups.ravel()) - {""}):
            for i, label in enumerate(predictions.labels):
                inside = groups[:, i] == group
                if grouping.positives_only:
                    inside = np.where(predictions.targets[:, i], inside, True)
                row = _score(predictions.only((label,)).where(inside), num_resamples)
                if row is not None:
                    if grouping.positives_only:
                        row["specificity"] = np.nan
                    rows.append({"grouping": grouping.name, "group": group, "label": label, **row})
    columns = (
        "grouping", "group", "label", "num_positive", "num_negative", "patients", "auc", "low", "high",
        "sensitivity", "specificity",
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))


def _score(predictions: Predictions, num_resamples: int) -> dict[str, float] | None:
    positives = predictions.targets[:, 0]
    if not positives.any() or positives.all():
        return None
    metrics = predictions.metrics()
    (scored,) = metrics.per_label
    name = f"auc/{scored.label}"
    interval = predictions.resampled(num_resamples=num_resamples).interval(name)
    return {
        "num_positive": int(positives.sum()),
        "num_negative": int((~positives).sum()),
        "patients": scored.num_positive_patients or 0,
        "auc": scored["auc"],
        "low": interval.low,
        "high": interval.high,
        "sensitivity": scored["sensitivity"],
        "specificity": scored["specificity"],
    }


def thirds(values: np.ndarray) -> np.ndarray:
    """`1: smallest`, `2: middle` or `3: largest` third of the values, str [N]; '' where a value is NaN.

    Fewer than three values are not divided.
    """
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    named = np.full(values.shape, "", dtype=object)
    if known.sum() >= 3:
        numbers = np.searchsorted(np.quantile(values[known], [1 / 3, 2 / 3]), values[known])
        named[known] = np.array(["1: smallest", "2: middle", "3: largest"], dtype=object)[numbers]
    return named.astype(str)


def terciles(values: np.ndarray, unit: str, *, digits: int = 2) -> np.ndarray:
    """Three groups of about equal size, str [N] such as `1: up to 0.47 mm`; '' where a value is NaN.

    All in one group named after the range where the values are nearly the same.
    """
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    named = np.full(values.shape, "", dtype=object)
    if not known.any():
        return named.astype(str)
    cuts = np.unique(np.round(np.quantile(values[known], [1 / 3, 2 / 3]), digits))
    lowest, highest = np.round(values[known].min(), digits), np.round(values[known].max(), digits)
    cuts = cuts[(cuts >= lowest) & (cuts < highest)]
    edges = [lowest, *cuts, highest]
    numbers = np.searchsorted(cuts, np.round(values[known], digits), side="left")
    texts = [f"{i + 1}: {edges[i]:g} to {edges[i + 1]:g} {unit}" for i in range(len(edges) - 1)]
    named[known] = np.array(texts, dtype=object)[numbers]
    return named.astype(str)
