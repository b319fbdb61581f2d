"""The tables of an evaluation, in words."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.assess import Assessment, null_model_column
from ich_mlflow.evaluation.metric import DECISION, PROBABILITY, RANKING, Group
from ich_mlflow.evaluation.metrics import JOINT_METRICS, MACRO, MICRO, metric_named, of_group
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.report.contents import Table


def ranking_table(assessment: Assessment) -> Table:
    """AUC and whatever else is of rankings, with intervals, counts, and the null models."""
    unit = assessment.predictions.unit
    null_models, metrics = tuple(assessment.null_models), of_group(RANKING)
    counts = {
        one.label: (f"{one.num_positive_slices:,}", f"{one.num_positive_patients:,}")
        for one in assessment.metrics.per_label
    }
    table = assessment.table().set_index(["metric", "label"])
    rows = []
    for label in (*assessment.predictions.labels, MACRO, MICRO):
        row = [label, *counts.get(label, ("", ""))]
        for metric in metrics:
            found = table.loc[(metric.name, label)]
            row.append(with_interval(found["value"], found["low"], found["high"], digits=metric.digits))
            row += [shown(found[null_model_column(null)], digits=metric.digits) for null in null_models]
        rows.append(row)
    columns = ["label", f"positive {unit}", "positive patients"]
    for metric in metrics:
        columns += [f"{metric.title} (95 % interval)", *(f"{metric.title} of {null}" for null in null_models)]
    estimable = f"{assessment.metrics.num_estimable} of {len(assessment.metrics.of_subtypes)}"
    return Table(
        title=f"Ranking of {unit}",
        columns=columns,
        rows=rows,
        note=(
            f"Macro means are over the {estimable} subtypes that are estimable, without any; micro takes all their "
            "decisions together. Rankings go by what the network says itself, since calibration can tie ranks."
        ),
    )


def decision_table(assessment: Assessment, *, rule: str) -> Table:
    """What decisions scored at the operating points, with intervals."""
    return _group_table(
        assessment,
        DECISION,
        title=f"Decisions on {assessment.predictions.unit} at the operating points {rule}",
        note="Thresholds were chosen on the validation split.",
    )


def probability_table(assessment: Assessment) -> Table:
    """Whether the probabilities mean what they say."""
    return _group_table(
        assessment,
        PROBABILITY,
        title=f"Probabilities of {assessment.predictions.unit}",
        note=(
            "Brier score, log loss and calibration error: lower is better. Brier skill: 1 is perfect, 0 no better than "
            "the share of positives here. Slope 1 and intercept 0 are right: below 1 probabilities are too extreme, an "
            "intercept above 0 says that they are too low all over. A resample always looks a little worse calibrated "
            "than the whole, so an interval of the calibration error may lie above its value."
        ),
    )


def joint_table(assessment: Assessment) -> Table:
    """Accuracies and the challenge's loss of all labels together, with the null models."""
    table = assessment.table().set_index(["metric", "label"])
    rows = []
    for metric in JOINT_METRICS:
        found = table.loc[(metric.name, metric.kind)]
        if np.isnan(found["value"]):
            continue
        rows.append(
            [
                metric.meaning,
                with_interval(found["value"], found["low"], found["high"], digits=metric.digits),
                *(shown(found[null_model_column(null)], digits=3) for null in assessment.null_models),
            ]
        )
    return Table(
        title=f"All subtypes together, {assessment.predictions.unit}",
        columns=["", "value (95 % interval)", *(f"of {null}" for null in assessment.null_models)],
        rows=rows,
        note="Accuracy is high for any rare label: read it beside its null model.",
    )


def operating_points(table: pd.DataFrame, *, unit: str) -> Table:
    """Every rule's thresholds, with what they gave on validation and on the test split."""
    rows = [
        [
            row["rule"],
            row["label"],
            f"{row['threshold']:.3f}",
            f"{row['validation_positive_patients']} / {row['validation_negative_patients']}",
            with_interval(*(row[f"validation_sensitivity{end}"] for end in ("", "_low", "_high")))
            + f" / {shown(row['validation_specificity'])}",
            f"{shown(row['test_sensitivity'])} / {shown(row['test_specificity'])}",
            f"{shown(row['test_ppv'])} / {shown(row['test_npv'])}",
        ]
        for row in table.to_dict("records")
    ]
    columns = [
        "rule", "label", "threshold", "validation patients with / without",
        "validation: sensitivity / specificity", "test: sensitivity / specificity",
        "test: PPV / NPV",
    ]  # fmt: skip
    return Table(
        title=f"Operating points of {unit}",
        columns=columns,
        rows=rows,
        note="The model carries all rules. PPV and NPV hold for the prevalence of this test split only.",
        folded=True,
    )


def difference_table(table: pd.DataFrame, *, unit: str) -> Table:
    """Model minus baseline with paired intervals."""
    rows = []
    for row in table.to_dict("records"):
        metric = metric_named(row["metric"])
        rows.append(
            [
                f"{metric.title} {row['label']}",
                shown(row["model"], digits=metric.digits),
                shown(row["baseline"], digits=metric.digits),
                with_interval(row["difference"], row["low"], row["high"], digits=metric.digits),
            ]
        )
    return Table(
        title=f"Model minus baseline, {unit}",
        columns=["metric", "model", "baseline", "difference (95 % interval, paired)"],
        rows=rows,
        note="Both were resampled by the same draws of patients. An interval that includes 0 leaves open which "
        "is better.",
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
        [
            row["label"],
            f"{row['hits']} of {row['slices']}",
            with_interval(row["rate"], row["low"], row["high"]),
            f"{row['chance']:.2f}",
        ]
        for row in table.to_dict("records")
    ]
    return Table(
        title="Pointing game", columns=["label", "hits", "rate", "of a random point in the head"], rows=rows
    )


def plain_table(title: str, frame: pd.DataFrame, *, note: str = "") -> Table:
    """A frame as it is."""
    rows: Sequence[Sequence[str]] = [[str(cell) for cell in row] for row in frame.itertuples(index=False)]
    return Table(title=title, columns=[str(name) for name in frame.columns], rows=rows, note=note)


def _group_table(assessment: Assessment, group: Group, *, title: str, note: str) -> Table:
    table = assessment.table().set_index(["metric", "label"])
    metrics = of_group(group)
    means = (MACRO, MICRO) if group.has_micro else (MACRO,)
    has_macro = {metric.name: metric.has_macro for metric in metrics}
    rows = []
    for label in (*assessment.predictions.labels, *means):
        row = [label]
        for metric in metrics:
            found = table.loc[(metric.name, label)]
            cell = with_interval(found["value"], found["low"], found["high"], digits=metric.digits)
            row.append(cell if has_macro[metric.name] or label != MACRO else "")
        rows.append(row)
    for null in assessment.null_models:
        column = null_model_column(null)
        theirs = [table.loc[(metric.name, MACRO)][column] for metric in metrics]
        said = [
            shown(value, digits=group.digits) if metric.has_macro else ""
            for metric, value in zip(metrics, theirs, strict=True)
        ]
        rows.append([f"macro of {null} alone", *said])
    return Table(title=title, columns=["label", *(metric.title for metric in metrics)], rows=rows, note=note)
