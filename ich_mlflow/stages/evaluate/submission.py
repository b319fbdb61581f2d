"""A submission to RSNA 2019's Kaggle page: the stage 2 test files scored, in the format of the sample submission."""

import io

import numpy as np
import pandas as pd

from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, ModelError
from ich_mlflow.evaluation.log_loss import RSNA_LABELS
from ich_mlflow.evaluation.null_models import PREVALENCE
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.sources.folder import Folder
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.tracking.run import Run

SAMPLE_FILE = "stage_2_sample_submission.csv"
SUBMISSION_FILE = "submission.csv"


def expect_all_labels(specification: Specification) -> None:
    """Raise ModelError for a model that says nothing of epidural bleeds, which a submission must."""
    if len(specification.labels) < 5:
        raise ModelError(
            f"the model has the labels {', '.join(specification.labels)}, and a submission needs all five "
            "subtypes: pass "
            "a model of 5 or 6 classes"
        )


def log_submission(run: Run, options: EvaluateOptions, classifier: Classifier, stored: StoredSet) -> None:
    """Score the set made of the stage 2 test files and log submission.csv; what can't be read gets the prevalence."""
    specification = classifier.specification
    rows = stored.rows(TEST)
    probabilities = specification.slices.calibrated(
        specification.scores(score_rows(classifier, stored, rows).slices)
    )
    unread = specification.null_models[PREVALENCE].probabilities(np.zeros(1))
    sample = Folder(options.data)
    text, num_unread = submission(
        sample.read(SAMPLE_FILE),
        stored.table["sop_uid"].to_numpy()[rows],
        probabilities,
        unread[0],
        name=sample.name(SAMPLE_FILE),
    )
    run.text(text, SUBMISSION_FILE)
    run.metrics({"submission/slices": len(rows), "submission/slices_unread": num_unread})
    print(
        f"{SUBMISSION_FILE} is logged on run {run.run_id}: {len(rows):,} slices scored, {num_unread:,} that "
        "can't be read "
        "got the prevalence in training"
    )


def submission(
    sample: bytes, sop_uids: np.ndarray, probabilities: np.ndarray, unread: np.ndarray, *, name: str
) -> tuple[str, int]:
    """The CSV, in the sample's order of rows, and how many of its slices were not scored.

    sop_uids [N], probabilities [N, 6] in the order of RSNA_LABELS, unread [6]: for slices without any.
    Raises DataError for a sample that is none.
    """
    try:
        table = pd.read_csv(io.BytesIO(sample), usecols=["ID"], dtype=str)
    except ValueError as error:
        raise DataError(
            f"{name} can't be read ({str(error).splitlines()[0]}), expected ID,Label: copy it again"
        ) from None
    labels = RSNA_LABELS
    parts = table["ID"].str.rsplit("_", n=1, expand=True)
    columns = pd.Index(labels).get_indexer(parts[1]) if parts.shape[1] == 2 else np.array([-1])
    if (columns < 0).any():
        raise DataError(f"{name} has rows that are no ID_<9 hex>_<subtype>: copy it again")
    places = pd.Index(sop_uids).get_indexer(parts[0])
    every = np.vstack([probabilities, unread])  # -1 is the last row
    table["Label"] = every[places, columns]
    num_unread = parts.loc[places < 0, 0].nunique()
    return table.to_csv(index=False, float_format="%.7f", lineterminator="\n"), int(num_unread)
