"""A comparison in words and in tables of words."""

import math
from collections.abc import Mapping

import pandas as pd

from ich_mlflow.evaluation.comparison import BASELINE, Lead
from ich_mlflow.evaluation.metrics import MACRO, metric_named
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.report.contents import Table
from ich_mlflow.tracking.looks import Look

#: Models differ by less than they score: one digit more.
DIFFERENCE_DIGITS = 3
#: Metrics that the page has a table of, each.
SHOWN = ("auc", "sensitivity", "specificity")
_GROUPS = {ANY: "any bleed", MACRO: "mean of the subtypes"}


def group_of(label: str) -> str:
    """What a label's rows are headed by."""
    return _GROUPS.get(label, label)


def answer(found: Lead | None) -> str:
    """Who is ahead in any bleed, by how much, and how sure that is."""
    if found is None:
        return "Any bleed is not estimable on this test split, so nobody is ahead."
    auc = f"AUC of {found.unit}"
    if not found.difference:
        return f"{found.best} and {found.next} are equal in any bleed: {auc} {shown(found.value)}."
    by = with_interval(found.difference, found.low, found.high, digits=DIFFERENCE_DIGITS)
    return (
        f"{found.best} is ahead in any bleed: {auc} {shown(found.value, digits=DIFFERENCE_DIGITS)} against "
        f"{shown(found.next_value, digits=DIFFERENCE_DIGITS)} of {found.next}, a difference of {by}. {_how_sure(found)}"
    )


def _how_sure(found: Lead) -> str:
    if not found.is_told:
        return "There are too few patients for an interval, so which of the two is better is open."
    if found.is_sure:
        return "The interval, 95 % and paired by patient, excludes zero."
    return "The interval, 95 % and paired by patient, includes zero, so which of the two is better is open."


def not_corrected(num_models: int, baseline: str) -> str:
    """How many differences there are, and that no interval is corrected for that."""
    if num_models == 2:
        return "Intervals are not corrected for the number of labels and metrics."
    return (
        f"{num_models - 1} models are compared with {baseline}. Intervals are not corrected for that, nor for the "
        "number of labels and metrics: of differences between equal models one in twenty excludes zero by "
        f"chance. That the highest of {num_models} was picked after looking makes it look better than it is, too."
    )


def look_lines(looks: Mapping[str, Look]) -> list[str]:
    """Of each model which look at this test split it is."""
    return [f"{name} is {look.said}" for name, look in looks.items()]


def difference_text(row: Mapping[str, float]) -> str:
    """`0.012 (-0.004 to 0.028)`."""
    ends = (row["difference"], row["difference_low"], row["difference_high"])
    return with_interval(*ends, digits=DIFFERENCE_DIGITS)


def in_order(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of a metric: any bleed first, then the mean, then the labels; models side by side."""
    rows = table[table["metric"] == metric]
    labels = list(dict.fromkeys(rows["label"]))
    first = [label for label in (ANY, MACRO) if label in labels]
    order = {
        label: place for place, label in enumerate([*first, *(one for one in labels if one not in first)])
    }
    return (
        rows.assign(place=rows["label"].map(order)).sort_values("place", kind="stable").drop(columns="place")
    )


def metric_table(table: pd.DataFrame, metric: str, *, unit: str, baseline: str) -> Table:
    """A row a label and model: value, difference from the baseline, and what its interval says; shown on demand."""
    title = metric_named(metric).title
    rows = [
        [
            group_of(row["label"]),
            row["model"],
            with_interval(row["value"], row["low"], row["high"]),
            "" if row["said"] == BASELINE else difference_text(row),
            row["said"],
        ]
        for row in in_order(table, metric).to_dict("records")
    ]
    return Table(
        title=f"{title} of {unit}",
        columns=[
            "label",
            "model",
            f"{title} (95 % interval)",
            f"minus {baseline} (95 %, paired)",
            "in words",
        ],
        rows=rows,
        folded=True,
    )


def glance_table(table: pd.DataFrame, models: list[str], *, unit: str, baseline: str) -> Table:
    """A row a model: any bleed and the mean, and by how much any bleed differs from the baseline's."""
    by = table.set_index(["metric", "label", "model"])
    rows = []
    for model in models:
        row = by.loc[("auc", ANY, model)]
        rows.append(
            [
                model,
                *(
                    _cell(by, metric, label, model)
                    for metric, label in (
                        ("auc", ANY),
                        ("auc", MACRO),
                        ("sensitivity", ANY),
                        ("specificity", ANY),
                    )
                ),
                "" if row["said"] == BASELINE else difference_text(row),
                row["said"],
            ]
        )
    return Table(
        title=f"At a glance: {unit}",
        columns=[
            "model", "AUC any bleed", "AUC mean of subtypes", "sensitivity any", "specificity any",
            f"AUC any minus {baseline}", "in words",
        ],
        rows=rows,
    )  # fmt: skip


def _cell(by: pd.DataFrame, metric: str, label: str, model: str) -> str:
    if (metric, label, model) not in by.index:
        return shown(math.nan)
    row = by.loc[(metric, label, model)]
    return with_interval(row["value"], row["low"], row["high"])


def terminal_table(tables: Mapping[str, pd.DataFrame], models: list[str]) -> str:
    """A row a model: AUC of any by unit, of the mean, and the difference in any from the baseline."""
    each = {unit: table.set_index(["metric", "label", "model"]) for unit, table in tables.items()}
    unit, first = next(iter(each.items()))
    columns = {
        f"AUC any, {unit}": [_cell(by, "auc", ANY, model) for model in models] for unit, by in each.items()
    }
    columns[f"AUC mean, {unit}"] = [_cell(first, "auc", MACRO, model) for model in models]
    rows = [first.loc[("auc", ANY, model)] for model in models]
    columns["any minus baseline"] = [
        BASELINE if row["said"] == BASELINE else f"{difference_text(row)}, {row['said']}" for row in rows
    ]
    return pd.DataFrame(columns, index=models).to_string()


def figure_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of AUC as the picture takes them."""
    rows = in_order(table, "auc")
    records = rows.to_dict("records")
    return rows.assign(
        group=[group_of(row["label"]) for row in records],
        text=[with_interval(row["value"], row["low"], row["high"]) for row in records],
        difference_text=[difference_text(row) for row in records],
    )
