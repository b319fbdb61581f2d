"""Several models that were scored on the same rows, beside each other: one table, and which of them is ahead."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ich_mlflow.evaluation.assess import Assessment, paired
from ich_mlflow.evaluation.metrics import COMPARED, MICRO, metric_named
from ich_mlflow.labels import ANY

#: What the column `said` says of a paired difference and its interval.
BASELINE, BETTER, WORSE, OPEN = "baseline", "better: excludes 0", "worse: excludes 0", "open: holds 0"
NO_INTERVAL, NOT_ESTIMABLE = "no interval", "not estimable"
COLUMNS = (
    "unit", "metric", "label", "model", "value", "low", "high", "difference", "difference_low", "difference_high",
    "said",
)  # fmt: skip
_DIFFERENCE = {"low": "difference_low", "high": "difference_high"}


@dataclass(frozen=True, kw_only=True)
class Lead:
    """Who is ahead in the AUC of a label, and by how much over whom comes next.

    low, high: the paired 95 % interval of the difference, NaN where it can't be told.
    """

    label: str
    unit: str
    best: str
    value: float
    next: str
    next_value: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """0 or more."""
        return self.value - self.next_value

    @property
    def is_told(self) -> bool:
        """Whether the difference has an interval."""
        return not math.isnan(self.low)

    @property
    def is_sure(self) -> bool:
        """Whether that interval excludes zero."""
        return self.low > 0


def shared_labels(each: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The labels that all have, in the order of the first; () where there is none."""
    return tuple(label for label in each[0] if all(label in labels for labels in each))


def comparison_table(models: Mapping[str, Assessment], *, baseline: str) -> pd.DataFrame:
    """A row a metric, label and model, with its interval and its paired difference from the baseline.

    models: by name, all of the same labels and rows and resampled with the same seed. baseline: the name of one.
    Columns: COLUMNS. `said` says in words whether the interval of the difference excludes zero. NaN where unknown.
    """
    tables = [_with_difference(name, one, models[baseline]) for name, one in models.items()]
    found = pd.concat(tables, ignore_index=True)
    # from itself it differs by nothing, of which an interval would say something
    found.loc[found["model"] == baseline, list(_DIFFERENCE.values())] = math.nan
    found["said"] = [
        BASELINE if row["model"] == baseline else _verdict(row) for row in found.to_dict("records")
    ]
    order = [(metric, label) for metric, label in zip(tables[0]["metric"], tables[0]["label"], strict=True)]
    places = {pair: place for place, pair in enumerate(order)}
    by_place = [places[pair] for pair in zip(found["metric"], found["label"], strict=True)]
    return found.assign(place=by_place).sort_values("place", kind="stable", ignore_index=True)[list(COLUMNS)]


def verdict(difference: float, low: float, high: float, *, lowest_is_best: bool = False) -> str:
    """Whether a difference's interval excludes zero, in words; an interval that ends at zero holds it."""
    if math.isnan(difference):
        return NOT_ESTIMABLE
    if math.isnan(low) or math.isnan(high):
        return NO_INTERVAL
    if low <= 0 <= high:
        return OPEN
    return BETTER if (low > 0) != lowest_is_best else WORSE


def lead(models: Mapping[str, Assessment], *, label: str = ANY) -> Lead | None:
    """Who has the highest AUC of the label, over the one with the next highest; of equal ones the first that is named.

    None where fewer than two have one.
    """
    name = f"auc/{label}"
    known = {model: one.values[name] for model, one in models.items() if name in one.values}
    if len(known) < 2:
        return None
    best, following, *_ = sorted(known, key=lambda model: -known[model])
    interval = models[best].resampled.difference(models[following].resampled, name)
    return Lead(
        label=label,
        unit=models[best].predictions.unit,
        best=best,
        value=known[best],
        next=following,
        next_value=known[following],
        low=interval.low,
        high=interval.high,
    )


def _with_difference(name: str, model: Assessment, baseline: Assessment) -> pd.DataFrame:
    """What runs are compared by, of one model, beside its difference from the baseline."""
    table = model.table()[["metric", "label", "value", "low", "high"]]
    table = table[table["metric"].isin(COMPARED) & (table["label"] != MICRO)]
    theirs = paired(model, baseline)[["metric", "label", "difference", "low", "high"]].rename(
        columns=_DIFFERENCE
    )
    found = table.merge(theirs, on=["metric", "label"], how="left")
    return found.assign(unit=model.predictions.unit, model=name)


def _verdict(row: Mapping[str, Any]) -> str:
    lowest_is_best = getattr(metric_named(row["metric"]), "lowest_is_best", False)
    ends = (row["difference"], row["difference_low"], row["difference_high"])
    return verdict(*ends, lowest_is_best=lowest_is_best)
