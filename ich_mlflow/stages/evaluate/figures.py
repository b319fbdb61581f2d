"""The pictures of an evaluation: curves with bands, calibration, histograms, intervals, and the worst failures."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.assess import Assessment, Predictions, null_model_column
from ich_mlflow.evaluation.counts import SLICES
from ich_mlflow.evaluation.curves import GRID, Band, bands, precision_recall, roc
from ich_mlflow.evaluation.metric import RANKING
from ich_mlflow.evaluation.metrics import of_group
from ich_mlflow.evaluation.null_models import POSITION, PREVALENCE
from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.figures.forest import forest_figure
from ich_mlflow.figures.histograms import score_histograms
from ich_mlflow.figures.ranking import RankingCurve, precision_recall_figure, roc_figure
from ich_mlflow.figures.reliability import reliability_figure
from ich_mlflow.figures.style import LABEL_COLOURS
from ich_mlflow.stages.common.evaluation import Evaluated
from ich_mlflow.stages.common.results import PREFIX, log_confusion
from ich_mlflow.stages.common.scoring import Scored
from ich_mlflow.stages.common.stored_sets import data_note
from ich_mlflow.tracking.run import Run

#: Slices of each label on the sheets of failures.
NUM_WORST = 4

#: How null models are called in a legend.
NULL_MODEL_NAMES = {POSITION: "slice position alone", PREVALENCE: "prevalence alone"}

Curve = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def log_figures(run: Run, evaluated: Evaluated) -> None:
    """Log all figures of the slices and of the exams."""
    note = f"test split, {data_note(evaluated.scored.stored)}"
    for assessment in (evaluated.slices, evaluated.exams):
        if assessment is not None:
            _log_assessment(run, evaluated, assessment, note=note)
    for unit, table in evaluated.differences.items():
        _log_difference(run, unit, table, note=note)
    if len(evaluated.subgroups):
        _log_subgroups(run, evaluated.subgroups, note=note)
    if evaluated.slices is not None:
        _log_failures(run, evaluated.scored, evaluated.slices.predictions, note=note)


def _log_assessment(run: Run, evaluated: Evaluated, assessment: Assessment, *, note: str) -> None:
    predictions, scored = assessment.predictions, evaluated.scored
    unit, labels = predictions.unit, predictions.labels
    prefix = f"{PREFIX}_{unit}"
    chosen = scored.specification.slices if unit == SLICES else scored.specification.exams
    thresholds = {rule: chosen.thresholds(rule) for rule in RULES}
    null = scored.null_models[POSITION] if unit == SLICES else None
    rocs, recalls = _curves(assessment, thresholds, null)
    said = f"({unit}; 95 % bands over patients)"
    run.figure(roc_figure(rocs, title=f"ROC {said}", note=note), f"figures/{prefix}_roc.png")
    run.figure(
        precision_recall_figure(recalls, title=f"Precision and recall {said}", note=note),
        f"figures/{prefix}_precision_recall.png",
    )
    before = predictions.scores
    values = assessment.values
    run.figure(
        reliability_figure(
            predictions.targets,
            predictions.probabilities,
            labels,
            before=before,
            unit=unit,
            said=[
                f"ECE {values[f'ece/{label}']:.3f}" if f"ece/{label}" in values else "" for label in labels
            ],
            title=f"Calibration ({unit})",
            note=note,
        ),
        f"figures/{prefix}_reliability.png",
    )
    run.figure(
        score_histograms(
            predictions.targets,
            predictions.probabilities,
            labels,
            points=thresholds,
            unit=unit,
            title=f"Probabilities of positive and negative {unit}",
            note=note,
        ),
        f"figures/{prefix}_histograms.png",
    )
    log_confusion(run, predictions, prefix=prefix, note=note)
    _log_forest(run, assessment, note=note)


def _curves(
    assessment: Assessment, thresholds: dict[str, np.ndarray], null: Predictions | None
) -> tuple[list[RankingCurve], list[RankingCurve]]:
    """ROC and precision-recall curve of each label."""
    predictions = assessment.predictions
    rocs, recalls = [], []
    for i, scored in enumerate(assessment.metrics.per_label):
        targets, scores = predictions.targets[:, i], predictions.ranked_by[:, i]
        counts: dict[str, Any] = {
            "label": scored.label,
            "num_positive": scored.num_positive_slices,
            "num_negative": len(targets) - scored.num_positive_slices,
        }
        if not scored.is_estimable:
            empty = np.empty(0)
            rocs.append(RankingCurve(x=empty, y=empty, **counts))
            recalls.append(RankingCurve(x=empty, y=empty, **counts))
            continue
        with_bands = assessment.has_interval(f"auc/{scored.label}")
        found = bands(targets, scores, predictions.patients) if with_bands else (None, None)
        at = {
            rule: replace(predictions, thresholds=each).only((scored.label,)).metrics().per_label[0]
            for rule, each in thresholds.items()
        }
        null_said = None if null is None else (targets, null.probabilities[:, i])
        rocs.append(
            RankingCurve(
                **counts,
                **_drawn(roc, targets, scores, found[0], null_said),
                points=tuple((rule, 1 - one["specificity"], one["sensitivity"]) for rule, one in at.items()),
                said=_said(assessment, "auc", "AUC", scored.label),
            )
        )
        recalls.append(
            RankingCurve(
                **counts,
                **_drawn(precision_recall, targets, scores, found[1], null_said),
                prevalence=float(targets.mean()),
                points=tuple(
                    (rule, one["sensitivity"], one["ppv"])
                    for rule, one in at.items()
                    if not np.isnan(one["ppv"])
                ),
                said=_said(assessment, "average_precision", "AP", scored.label),
            )
        )
    return rocs, recalls


def _drawn(
    curve: Curve,
    targets: np.ndarray,
    probabilities: np.ndarray,
    band: Band | None,
    null: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, Any]:
    x, y = curve(targets, probabilities)
    drawn = {"x": x, "y": y}
    if band is not None and not np.isnan(band.low).any():
        drawn |= {"band_x": GRID, "band_low": band.low, "band_high": band.high}
    if null is not None:
        drawn["null_x"], drawn["null_y"] = curve(*null)
    return drawn


def _said(assessment: Assessment, metric: str, name: str, label: str) -> str:
    interval = assessment.interval(f"{metric}/{label}")
    return f"{name} {with_interval(assessment.values[f'{metric}/{label}'], interval.low, interval.high)}"


def _log_forest(run: Run, assessment: Assessment, *, note: str) -> None:
    """Log AUC of every label with its interval and null model."""
    table = assessment.table()
    null = list(assessment.null_models)[-1]
    rows = table[(table["metric"] == "auc") & (table["label"] != "micro")]
    unit = assessment.predictions.unit
    frame = pd.DataFrame(
        {
            "name": rows["label"].replace({"macro": "mean of labels"}),
            "label": rows["label"],
            "value": rows["value"],
            "low": rows["low"],
            "high": rows["high"],
            "null_model": rows[null_model_column(null)],
            "text": [with_interval(*ends) for ends in rows[["value", "low", "high"]].to_numpy()],
        }
    )
    run.figure(
        forest_figure(
            frame,
            metric_name="AUC",
            null_model_name=NULL_MODEL_NAMES[null],
            title=f"AUC by label ({unit}), beside a null model that doesn't look at the image",
            note=note,
        ),
        f"figures/{PREFIX}_{unit}_auc.png",
    )


def _log_difference(run: Run, unit: str, table: pd.DataFrame, *, note: str) -> None:
    titles = {metric.name: metric.title for metric in of_group(RANKING)}
    rows = table[table["metric"].isin(titles) & (table["label"] != "micro")]
    if rows.empty:
        return
    frame = pd.DataFrame(
        {
            "group": rows["metric"].replace(titles),
            "name": rows["label"].replace({"macro": "mean of labels"}),
            "label": rows["label"],
            "value": rows["difference"],
            "low": rows["low"],
            "high": rows["high"],
            "null_model": np.nan,
            "text": [with_interval(*ends) for ends in rows[["difference", "low", "high"]].to_numpy()],
        }
    )
    run.figure(
        forest_figure(
            frame,
            metric_name="model minus baseline",
            reference=0.0,
            title=f"Model minus baseline ({unit})",
            note=f"right of 0 the model is better; {note}",
        ),
        f"figures/{PREFIX}_{unit}_difference.png",
    )


def _log_subgroups(run: Run, table: pd.DataFrame, *, note: str) -> None:
    frame = pd.DataFrame(
        {
            "group": table["grouping"] + ": " + table["group"],
            "name": table["label"],
            "label": table["label"],
            "value": table["auc"],
            "low": table["low"],
            "high": table["high"],
            "null_model": np.nan,
            "text": [
                f"{with_interval(row.auc, row.low, row.high)}, {row.num_positive:,.0f} positive"
                for row in table.itertuples()
            ],
        }
    )
    run.figure(
        forest_figure(frame, metric_name="AUC", title="AUC by subgroup of slices", note=note),
        f"figures/{PREFIX}_subgroups.png",
    )


def _log_failures(run: Run, scored: Scored, predictions: Predictions, *, note: str) -> None:
    """Log the false negatives with the lowest and the false positives with the highest probability of each label."""
    decided = predictions.decisions
    for kind, title, wrong, sign in (
        ("false_negatives", "Worst false negatives", predictions.targets & ~decided, 1),
        ("false_positives", "Worst false positives", ~predictions.targets & decided, -1),
    ):
        shown = _worst(wrong, sign * predictions.probabilities, predictions.patients)
        if not shown:
            continue
        places = np.array([place for place, _ in shown])
        labels = [predictions.labels[i] for _, i in shown]
        captions = [
            f"{label}\n{predictions.probabilities[place, i]:.3f} (threshold {predictions.thresholds[i]:.3f})"
            for (place, i), label in zip(shown, labels, strict=True)
        ]
        figure = contact_sheet(
            scored.stored.hu(scored.rows[places]),
            captions,
            columns=NUM_WORST,
            title=title,
            note=f"probability and threshold under each; {note}",
            colours=[LABEL_COLOURS[label] for label in labels],
        )
        run.figure(figure, f"figures/{PREFIX}_{kind}.png")


def _worst(wrong: np.ndarray, badness: np.ndarray, patients: np.ndarray) -> list[tuple[int, int]]:
    """(row, label) of the wrong decisions [N, L] with the lowest `badness`, at most NUM_WORST a label.

    Neighbouring slices fail alike: the worst slice of each patient comes before the second of any.
    """
    found = []
    for i in range(wrong.shape[1]):
        places = np.flatnonzero(wrong[:, i])
        ordered = places[np.argsort(badness[places, i], kind="stable")]
        nth_of_patient = pd.Series(patients[ordered]).groupby(patients[ordered]).cumcount().to_numpy()
        best = ordered[np.argsort(nth_of_patient, kind="stable")][:NUM_WORST]
        found += [(int(place), i) for place in best]
    return found
