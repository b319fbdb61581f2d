"""Detection and subtype: how well any bleed is told from none, and how well subtypes are told given a bleed.

A subtype's AUC over all slices mixes the two: most of its negatives show no bleed at all, and are easy.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.assess import Assessment, Predictions, assess
from ich_mlflow.evaluation.intervals import NUM_RESAMPLES
from ich_mlflow.evaluation.metrics import MACRO, metric_named
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.report.contents import Section, Table

DETECTION, GIVEN = "detection", "subtype given a bleed"
TITLE = "Detection and subtype"
_COLUMNS = ("part", "label", "slices", "positive_slices", "positive_patients", "auc", "low", "high")


def two_parts(slices: Assessment, *, num_resamples: int = NUM_RESAMPLES) -> pd.DataFrame:
    """The AUC of any over all slices, then of each subtype, and their mean, over the slices that show a bleed.

    slices: of a network with an output of its own for any. Columns: part, label, slices, positive_slices,
    positive_patients (NA of the mean), auc, low, high (NaN where they are not known). Without a bleed there is no row
    of a subtype.
    """
    rows = [_row(DETECTION, ANY, slices)]
    given = given_a_bleed(slices.predictions)
    if len(given.targets):
        assessment = assess(given, num_resamples=num_resamples)
        rows += [_row(GIVEN, label, assessment) for label in (*given.labels, MACRO)]
    counts = dict.fromkeys(("positive_slices", "positive_patients"), "Int64")
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(counts)


def given_a_bleed(predictions: Predictions) -> Predictions:
    """What was said of each subtype given a bleed, of the slices that show one: the share of any's score, 1 at most.

    Raises ValueError where any is no label of the predictions.
    """
    place = predictions.labels.index(ANY)
    shown = predictions.where(predictions.targets[:, place].astype(bool))
    detected = np.maximum(shown.ranked_by[:, [place]], np.finfo(np.float64).tiny)
    shares = np.minimum(shown.ranked_by / detected, 1.0)
    subtypes = tuple(label for label in predictions.labels if label != ANY)
    return replace(shown, probabilities=shares, scores=shares).only(subtypes)


def two_parts_table(found: pd.DataFrame) -> Table:
    """The same in words."""
    digits = metric_named("auc").digits
    rows = [
        [
            row["part"],
            row["label"],
            f"{row['slices']:,}",
            "" if pd.isna(row["positive_slices"]) else f"{row['positive_slices']:,}",
            "" if pd.isna(row["positive_patients"]) else f"{row['positive_patients']:,}",
            with_interval(row["auc"], row["low"], row["high"], digits=digits),
        ]
        for row in found.to_dict("records")
    ]
    return Table(
        title=TITLE,
        columns=["part", "label", "slices", "positive slices", "positive patients", "AUC (95 % interval)"],
        rows=rows,
        note=f"Detection: any over all slices. A {GIVEN}: its score over any's, among the slices that show a bleed.",
    )


def two_parts_section(found: pd.DataFrame) -> Section:
    """The section of the report."""
    return Section(
        anchor="detection-and-subtype",
        title=TITLE,
        paragraphs=[
            "A subtype's AUC over all slices mixes two tasks, since most slices without it show no bleed at all. Here "
            f"they stand apart: {DETECTION}, any bleed against none; and {GIVEN}, each subtype against the other "
            "bleeds."
        ],
        tables=[two_parts_table(found)],
    )


def _row(part: str, label: str, assessment: Assessment) -> dict[str, object]:
    name = f"auc/{label}"
    counted = {one.label: one for one in assessment.metrics.per_label}.get(label)
    interval = assessment.interval(name)
    return {
        "part": part,
        "label": label,
        "slices": len(assessment.predictions.targets),
        "positive_slices": None if counted is None else counted.num_positive_slices,
        "positive_patients": None if counted is None else counted.num_positive_patients,
        "auc": assessment.values.get(name, np.nan),
        "low": interval.low,
        "high": interval.high,
    }
