"""Where the blood is, in an evaluation: what the lesion map found against the masks, logged and in words."""

import pandas as pd

from ich_mlflow.evaluation.blood import BLOOD_METRICS, blood_table
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.models.lesion_maps import VOLUMES
from ich_mlflow.report.contents import Section, Table
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.results import PREFIX
from ich_mlflow.stages.common.scoring import Scored
from ich_mlflow.tracking.run import Run

TITLE = "Where the blood is"


def log_blood(run: Run, scored: Scored, *, num_resamples: int) -> pd.DataFrame | None:
    """Log Dice and millilitres with intervals; None of a model without a lesion map, and of data without masks."""
    if scored.blood is None:
        return None
    found = blood_table(scored.blood, num_resamples=num_resamples)
    run.table(found, f"tables/{PREFIX}_blood.json")
    named = {
        f"{PREFIX}/blood_{row.metric}{end}/{row.label}": value
        for row in found.itertuples()
        for end, value in (("", row.value), ("_low", row.low), ("_high", row.high))
    }
    run.metrics({name: value for name, value in named.items() if not pd.isna(value)})
    return found


def blood_table_of(found: pd.DataFrame) -> Table:
    """A row a label and a column a metric, with intervals."""
    by = found.set_index(["metric", "label"])
    rows = []
    for label in (one for one in VOLUMES if one in set(found["label"])):
        exams = by["exams"].get(("dice", label), 0)
        cells = [
            with_interval(*by.loc[(metric.name, label), ["value", "low", "high"]], digits=metric.digits)
            if (metric.name, label) in by.index
            else "not measured"
            for metric in BLOOD_METRICS
        ]
        rows.append([label, f"{exams:,}", *cells])
    return Table(
        title=TITLE,
        columns=["label", "exams with it", *(metric.title for metric in BLOOD_METRICS)],
        rows=rows,
        note="Means over exams, of the slices whose masks are known, with 95 % intervals over patients. "
        + " ".join(f"{metric.title}: {metric.meaning}." for metric in BLOOD_METRICS),
    )


def threshold_text(specification: Specification) -> str:
    """By which threshold blood is found."""
    if specification.blood_threshold is None:
        return "Blood is where its share on the map reaches one half: validation had no masks to choose by."
    return (
        f"Blood is where its share on the map reaches {specification.blood_threshold:.2f}, which had the highest Dice "
        f"on validation ({specification.blood_patients:,} patients with masks)."
    )


def blood_section(found: pd.DataFrame, specification: Specification) -> Section:
    """The section of the report."""
    return Section(
        anchor="blood",
        title=TITLE,
        paragraphs=[
            f"{threshold_text(specification)} Pixels of 256 x 256 are compared with the masks of the set, and "
            "millilitres are their area times the distance of slices: not measured where sizes or places are not "
            "known. Blood whose subtype the masks don't name counts as any alone."
        ],
        tables=[blood_table_of(found)],
    )
