"""What is to be known before a candidate may become champion: scored, measured, and compared on the same test split."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ich_mlflow.dicom.write import Encoding, Identity, write_slice
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.assess import MACRO, Assessment, Predictions, difference, too_few_patients
from ich_mlflow.phantom.exam import ExamOptions, make_exam
from ich_mlflow.serving.packaging import signature_fault, size_mb
from ich_mlflow.serving.smoke_test import latency_ms
from ich_mlflow.stages.common.evaluation import Evaluated
from ich_mlflow.stages.common.scoring import LoadedModel, Scored, expect_unseen, score
from ich_mlflow.stages.promote.gates import Compared, Facts
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.tracking.registry import TrainedRun

_ECE = f"ece/{MACRO}"
_AUC = f"auc/{MACRO}"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """Facts but for registration and serving, which need a version; and the table of differences."""

    facts: Facts
    differences: pd.DataFrame
    dicom: bytes


def examine(
    options: PromoteOptions,
    candidate: TrainedRun,
    model: LoadedModel,
    evaluated: Evaluated,
    champion: LoadedModel | None,
    *,
    name: str,
) -> Examined:
    """Compare the evaluated candidate with the champion, scored now on the same rows. name: of the candidate."""
    scored = evaluated.scored
    assessment = evaluated.slices or evaluated.exams
    dicom = phantom_dicom()
    table, seen, auc = pd.DataFrame(), "", None
    too_few: tuple[str, ...] = ()
    if champion is not None:
        mine, theirs = _both(evaluated, scored, champion)
        table = difference(mine, theirs, num_resamples=options.resamples)
        auc, too_few = _mean_auc(table, mine, theirs, num_resamples=options.resamples)
        seen = _seen(champion, scored)
    compared = _compared(table)
    values = assessment.values
    facts = Facts(
        candidate=name,
        champion=None if champion is None else champion.uri.removeprefix("models:/"),
        unit=assessment.predictions.unit,
        digest=scored.stored.digest,
        trained_digest=candidate.params.get("data.digest", "not recorded"),
        champion_seen=seen,
        macro_auc=values.get(_AUC),
        auc=auc,
        labels=_labels(compared, assessment),
        not_estimable=tuple(label for label in assessment.predictions.labels if f"auc/{label}" not in values),
        too_few=too_few,
        ece=values.get(_ECE),
        champion_ece=compared[_ECE].champion if _ECE in compared else None,
        latency_ms=latency_ms(model.classifier, dicom),
        size_mb=size_mb(model.uri),
        signature=signature_fault(model.uri, None if champion is None else champion.uri),
        registration="",
        smoke=None,
    )
    return Examined(facts=facts, differences=table, dicom=dicom)


@cache
def phantom_dicom() -> bytes:
    """A DICOM file to try a server with: a slice through the middle of a phantom head."""
    exam = make_exam(ExamOptions(seed=0, exam_rate=1.0), 0)
    middle = len(exam.hu) // 2
    identity = Identity(
        sop_uid=exam.sop_uids[middle],
        patient_id=exam.patient_id,
        study_uid=exam.study_uid,
        series_uid=exam.series_uid,
        position=exam.geometry.position(middle),
        orientation=exam.geometry.orientation,
        pixel_spacing_mm=(exam.geometry.pixel_mm, exam.geometry.pixel_mm),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.dcm"
        write_slice(path, exam.hu[middle], identity, Encoding())
        return path.read_bytes()


def _both(evaluated: Evaluated, scored: Scored, champion: LoadedModel) -> tuple[Predictions, Predictions]:
    """What candidate and champion say of the same slices; of the same exams where labels are of exams alone."""
    print(f"scoring the champion {champion.uri}")
    other = score(champion.classifier, scored.stored, rule=evaluated.rule)
    if scored.slices is not None and other.slices is not None:
        return scored.slices, other.slices
    return scored.exams, other.exams


def _mean_auc(
    table: pd.DataFrame, mine: Predictions, theirs: Predictions, *, num_resamples: int
) -> tuple[Compared | None, tuple[str, ...]]:
    """The mean AUC over the labels of which an interval can be told, and the labels that it leaves out.

    One label with two patients would otherwise leave the mean of all without an interval.
    """
    whole = _compared(table).get(_AUC)
    few = too_few_patients(mine)
    known = set(table.loc[table["metric"] == "auc", "label"])
    left = tuple(label for label in mine.labels if f"auc/{label}" not in few and label in known)
    if whole is None or not np.isnan(whole.low) or not left:
        return whole, ()
    again = difference(mine.only(left), theirs.only(left), num_resamples=num_resamples)
    return _compared(again)[_AUC], tuple(
        label for label in mine.labels if label not in left and label in known
    )


def _seen(champion: LoadedModel, scored: Scored) -> str:
    said: list[str] = []
    try:
        known = expect_unseen(champion.specification, scored.stored, champion.trained_path, say=said.append)
    except ModelError as error:
        return f"the champion has learned from some of them: {error}"
    return "" if known else f"that the champion has not learned from them is not known: {' '.join(said)}"


def _compared(table: pd.DataFrame) -> Mapping[str, Compared]:
    """By `metric/label`."""
    return {
        f"{row['metric']}/{row['label']}": Compared(
            candidate=row["model"], champion=row["baseline"], low=row["low"], high=row["high"]
        )
        for row in table.to_dict("records")
    }


def _labels(compared: Mapping[str, Compared], assessment: Assessment) -> dict[str, Compared]:
    return {
        label: compared[f"auc/{label}"]
        for label in assessment.predictions.labels
        if f"auc/{label}" in compared
    }
