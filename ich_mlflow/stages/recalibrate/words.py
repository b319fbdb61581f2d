"""A recalibration in words, in a table for the terminal, and in the figures that its run is found by."""

import math
from collections.abc import Mapping

import pandas as pd

from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.evaluation.metrics import metric_named
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.report.contents import Table
from ich_mlflow.stages.recalibrate.judged import SHOWN, Judged

#: In the order of the figures, and the difference.
_WHEN = ("before", "after", "difference")


def answer(one: Judged, *, num_patients: int) -> str:
    """What changed in any bleed of a unit, for patients who had no part in it."""
    figures = [
        f"{metric_named(metric).title} {one.said(metric, 'before')} before, {one.said(metric, 'after')} after"
        for metric in ("brier_skill", "sensitivity", "specificity")
    ]
    pays = "" if one.pays else " It doesn't pay here: the Brier skill is no higher."
    return f"Any bleed of {one.unit.name}, cross-fitted over {num_patients} patients: {'; '.join(figures)}.{pays}"


def row_text(row: Mapping[str, float], when: str) -> str:
    """`0.91 (0.85 to 0.95)` of a row of the table."""
    return with_interval(row[when], row[f"{when}_low"], row[f"{when}_high"])


def unit_table(one: Judged) -> Table:
    """Every label and metric of a unit, any bleed first."""
    labels = [ANY, *(label for label in one.labels if label != ANY)]
    by = one.table.set_index(["metric", "label"])
    rows = []
    for label in labels:
        for metric in SHOWN:
            row = by.loc[(metric, label)]
            rows.append([label, metric_named(metric).title, *(row_text(row, when) for when in _WHEN)])
    columns = ["label", "figure", "before (95 %)", "after (95 %)", "after minus before (95 %, paired)"]
    return Table(title=f"Before and after: {one.unit.name}", columns=columns, rows=rows)


def terminal_table(units: Mapping[str, Judged]) -> str:
    """A row a unit and figure of any bleed."""
    rows, names = [], []
    for name, one in units.items():
        by = one.table.set_index(["metric", "label"])
        for metric in SHOWN:
            row = by.loc[(metric, ANY)]
            names.append(f"{name}: {metric_named(metric).title}")
            rows.append([row_text(row, when) for when in _WHEN])
    return pd.DataFrame(rows, index=names, columns=["before", "after", "after minus before"]).to_string()


def metrics_of(units: Mapping[str, Judged]) -> dict[str, float]:
    """Metrics such as `any_brier_skill_before`, of exams `any_exam_brier_skill_before`; those that are estimable."""
    found = {}
    for name, one in units.items():
        exam = "exam_" if name == EXAMS else ""
        for metric in SHOWN:
            for when in _WHEN[:2]:
                value = one.figure(metric, when)
                if not math.isnan(value):
                    found[f"any_{exam}{metric}_{when}"] = value
    return found
