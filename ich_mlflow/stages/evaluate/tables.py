"""The tables of an evaluation, in words."""

from collections.abc import Sequence

import pandas as pd

from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.evaluation.metrics import PER_LABEL_METRICS
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.report.contents import Table

#: How metrics are called in tables.
NAMES = {
    "auc": "AUC", "average_precision": "average precision", "f1": "F1", "sensitivity": "sensitivity",
    "specificity": "specificity", "ppv": "PPV", "npv": "NPV", "brier": "Brier score",
    "ece": "calibration error", "accuracy": "accuracy", "log_loss": "log loss",
}  # fmt: skip
_RANKING, _DECISIONS, _PROBABILITIES = PER_LABEL_METRICS[:2], PER_LABEL_METRICS[2:7], PER_LABEL_METRICS[7:]
#: A Brier score of a rare label has its first digit in the third place.
_DIGITS = {"brier": 3, "ece": 3, "log_loss": 3}


def auc_table(assessment: Assessment) -> Table:
    """AUC and average precision with intervals, counts, and the floors."""
    unit = assessment.predictions.unit
    floors = tuple(assessment.floors)
    counts = {
        one.label: (f"{one.num_positive_slices:,}", f"{one.num_positive_patients:,}")
        for one in assessment.metrics.per_label
    }
    table = assessment.table().set_index(["metric", "label"])
    rows = []
    for label in (*assessment.predictions.labels, "macro", "micro"):
        row = [label, *counts.get(label, ("", ""))]
        for metric in _RANKING:
            found = table.loc[(metric, label)]
            row.append(with_interval(found["value"], found["low"], found["high"]))
            row += [shown(found[f"floor_{floor}"]) for floor in floors]
        rows.append(row)
    columns = ["label", f"positive {unit}", "positive patients"]
    for metric in _RANKING:
        columns += [f"{NAMES[metric]} (95 % interval)", *(f"{NAMES[metric]} of {floor}" for floor in floors)]
    estimable = f"{assessment.metrics.num_estimable} of {len(assessment.predictions.labels)}"
    return Table(
        title=f"Ranking of {unit}",
        columns=columns,
        rows=rows,
        note=(
            f"Macro means are over the {estimable} labels that are estimable; micro takes all their "
            "decisions together."
        ),
    )


def decision_table(assessment: Assessment, *, rule: str) -> Table:
    """What decisions scored at the operating points, with intervals."""
    return _metric_table(
        assessment,
        _DECISIONS,
        title=f"Decisions on {assessment.predictions.unit} at the operating points {rule}",
        note="Thresholds were chosen on the validation split.",
    )


def probability_table(assessment: Assessment) -> Table:
    """Whether the probabilities mean what they say."""
    return _metric_table(
        assessment,
        _PROBABILITIES,
        title=f"Probabilities of {assessment.predictions.unit}",
        note="Lower is better. A resample always looks a little worse calibrated than the whole, so an interval of the "
        "calibration error may lie above its value.",
    )


def whole_table(assessment: Assessment) -> Table:
    """Accuracies and log losses, with the floors."""
    table = assessment.table()
    table = table[table["metric"].isin(["accuracy", "log_loss"])]
    floors = tuple(assessment.floors)
    said = {
        ("accuracy", "exact_match"): "exact match: every label right",
        ("accuracy", "mean"): "share of all decisions that are right",
        ("log_loss", "mean"): "log loss, mean over labels (nats)",
        ("log_loss", "rsna"): "RSNA 2019 weighted log loss",
    }
    rows = [
        [
            said[row["metric"], row["label"]],
            with_interval(row["value"], row["low"], row["high"], digits=_DIGITS.get(row["metric"], 2)),
            *(shown(row[f"floor_{floor}"], digits=3) for floor in floors),
        ]
        for row in table.to_dict("records")
        if row["value"] == row["value"]
    ]
    return Table(
        title=f"All labels together, {assessment.predictions.unit}",
        columns=["", "value (95 % interval)", *(f"of {floor}" for floor in floors)],
        rows=rows,
        note="Accuracy is high for any rare label: read it beside its floor.",
    )


def operating_points(table: pd.DataFrame, *, unit: str) -> Table:
    """Every rule's thresholds, with what they gave on validation and on the test split."""
    rows = [
        [
            row["rule"],
            row["label"],
            f"{row['threshold']:.3f}",
            f"{shown(row['validation_sensitivity'])} / {shown(row['validation_specificity'])}",
            f"{shown(row['test_sensitivity'])} / {shown(row['test_specificity'])}",
            f"{shown(row['test_ppv'])} / {shown(row['test_npv'])}",
        ]
        for row in table.to_dict("records")
    ]
    columns = [
        "rule", "label", "threshold", "validation: sensitivity / specificity", "test: sensitivity / specificity",
        "test: PPV / NPV",
    ]  # fmt: skip
    return Table(
        title=f"Operating points of {unit}",
        columns=columns,
        rows=rows,
        note="The model carries all three rules. PPV and NPV hold for the prevalence of this test split only.",
    )


def difference_table(table: pd.DataFrame, *, unit: str) -> Table:
    """Model minus baseline with paired intervals."""
    rows = []
    for row in table.to_dict("records"):
        digits = _DIGITS.get(row["metric"], 2)
        rows.append(
            [
                f"{NAMES[row['metric']]} {row['label']}",
                shown(row["model"], digits=digits),
                shown(row["baseline"], digits=digits),
                with_interval(row["difference"], row["low"], row["high"], digits=digits),
            ]
        )
    return Table(
        title=f"Model minus baseline, {unit}",
        columns=["metric", "model", "baseline", "difference (95 % interval, paired)"],
        rows=rows,
        note="Both were resampled by the same draws of patients. An interval that holds 0 leaves open which is better.",
    )


def subgroup_table(table: pd.DataFrame) -> Table:
    """AUC and rates of each subgroup."""
    rows = [
        [
            row["grouping"],
            row["group"],
            row["label"],
            f"{row['num_positive']:,} of {row['patients']:,} patients",
            f"{row['num_negative']:,}",
            with_interval(row["auc"], row["low"], row["high"]),
            shown(row["sensitivity"]),
            "" if row["specificity"] != row["specificity"] else shown(row["specificity"]),
        ]
        for row in table.to_dict("records")
    ]
    columns = [
        "by",
        "group",
        "label",
        "positive",
        "negative",
        "AUC (95 % interval)",
        "sensitivity",
        "specificity",
    ]
    return Table(
        title="Subgroups of slices",
        columns=columns,
        rows=rows,
        note="Groups of bleeds divide positive slices only, each against all negatives. Intervals are not adjusted for "
        "the number of groups.",
    )


def pointing_table(table: pd.DataFrame) -> Table:
    """Hits of the pointing game beside chance."""
    rows = [
        [row["label"], f"{row['hits']} of {row['slices']}", f"{row['rate']:.2f}", f"{row['chance']:.2f}"]
        for row in table.to_dict("records")
    ]
    return Table(
        title="Pointing game", columns=["label", "hits", "rate", "of a random point in the head"], rows=rows
    )


def plain_table(title: str, frame: pd.DataFrame, *, note: str = "") -> Table:
    """A frame as it is."""
    rows: Sequence[Sequence[str]] = [[str(cell) for cell in row] for row in frame.itertuples(index=False)]
    return Table(title=title, columns=[str(name) for name in frame.columns], rows=rows, note=note)


def _metric_table(assessment: Assessment, metrics: Sequence[str], *, title: str, note: str) -> Table:
    table = assessment.table().set_index(["metric", "label"])
    means = ("macro", "micro") if metrics == _DECISIONS else ("macro",)
    rows = []
    for label in (*assessment.predictions.labels, *means):
        row = [label]
        for metric in metrics:
            found = table.loc[(metric, label)]
            digits = _DIGITS.get(metric, 2)
            row.append(with_interval(found["value"], found["low"], found["high"], digits=digits))
        rows.append(row)
    for floor in assessment.floors:
        means_of_floor = [table.loc[(metric, "macro")][f"floor_{floor}"] for metric in metrics]
        said = [
            shown(mean, digits=_DIGITS.get(metric, 2))
            for metric, mean in zip(metrics, means_of_floor, strict=True)
        ]
        rows.append([f"macro of {floor} alone", *said])
    return Table(title=title, columns=["label", *(NAMES[metric] for metric in metrics)], rows=rows, note=note)
