"""Results as tables for other programs. Pure: results in, frames out."""

import re
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.intake.plan import Study
from ich_mlflow.intake.survey import Skipped
from ich_mlflow.labels import ANY
from ich_mlflow.prediction.out_folder import DICOM_FOLDER
from ich_mlflow.prediction.verdict import ScoredSlice, StudyResult
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.response import Answerer, answer_columns, decision_columns

SLICE, EXAM = "slice", "exam"
#: Millilitres of all blood; of a finding, with its label behind it.
BLOOD_ML = "blood_ml"
_ML_DIGITS = 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: What a spreadsheet reads as a number that it writes otherwise: leading zeros, more digits than it keeps, an exponent.
_CHANGED_NUMBER = re.compile(r"\s*(?:0\d+|\d{12,}|\d+(?:\.\d+)?[eE][+-]?\d+)\s*")
#: What steers a terminal or turns the direction of text: of names that a stranger chose. Lines and tabs stay.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BYTE_ORDER_MARK = "\ufeff"


def predictions(
    results: Sequence[StudyResult], answerer: Answerer, asked: Asked, *, measures_blood: bool = False
) -> pd.DataFrame:
    """A row an exam, followed by a row a slice of it from below: what the server answers, and which slice it is.

    level is exam or slice; what only slices have is empty for exams. slice counts from 1. measures_blood: with the
    exam's millilitres of blood of each finding, empty where they are not measured, and for slices.
    """
    findings = answerer.specification.findings
    says = answer_columns(findings)
    volumes = {label: f"{BLOOD_ML}_{label}" for label in findings} if measures_blood else {}
    told: dict[str, object] = {
        "operating_point": asked.operating_point,
        "model_name": answerer.version.name,
        "model_version": answerer.version.version,
    }
    of_exam, of_slice = (
        {**told, "caveats": "; ".join(answerer.caveats(asked, unit=unit))} for unit in (EXAMS, SLICES)
    )
    rows: list[dict[str, object]] = []
    for result in results:
        study = result.study
        who: dict[str, object] = {"patient_id": study.patient_id, "study_uid": study.study_uid}
        exam = {column: result.said.get(column) for column in says}
        exam |= {column: result.blood_ml.get(label) for label, column in volumes.items()}
        rows.append(
            {"level": EXAM, **who, **exam, **of_exam, "warnings": "; ".join(result.reasons), "error": ""}
        )
        rows += [{"level": SLICE, **who, **_slice(one, says), **of_slice} for one in result.slices]
    columns = ["level", "patient_id", "study_uid", "series_uid", "sop_uid", "file", "slice", "position_mm"]
    order = [*columns, *says, *volumes.values(), *told, "warnings", "caveats", "error"]
    frame = pd.DataFrame(rows, columns=order).round(dict.fromkeys(volumes.values(), _ML_DIGITS))
    return frame.astype(
        {
            "slice": "Int64",
            **dict.fromkeys(volumes.values(), "float64"),
            **dict.fromkeys(decision_columns(findings), "boolean"),
        }
    )


def worklist(
    results: Sequence[StudyResult],
    num_dicom: dict[int, int],
    *,
    caveats: Sequence[str] = (),
    measures_blood: bool = False,
) -> pd.DataFrame:
    """A row a study, in the order to look at them.

    num_dicom: files written, by the study's number. caveats: of the model version, the same in every row that says what
    it found. measures_blood: with the exam's millilitres of all blood, empty where they are not measured.
    """
    rows = []
    for rank, result in enumerate(results, start=1):
        study, best = result.study, most_probable(result)
        rows.append(
            {
                "rank": rank,
                "status": result.status,
                "patient_id": study.patient_id,
                "study_date": study.study_date,
                "study_uid": study.study_uid,
                "probability_any": result.said.get(f"probability_{ANY}"),
                "findings": ", ".join(result.positive),
                **({BLOOD_ML: rounded_ml(result.blood_ml.get(ANY))} if measures_blood else {}),
                "remarks": "; ".join(result.reasons),
                "caveats": "; ".join(caveats) if result.said else "",
                "slices": len(result.slices),
                "most_probable_slice": "" if best is None else best.series.sop_uids[best.place],
                "most_probable_file": "" if best is None else best.series.files[best.place].name,
                "dicom": f"{DICOM_FOLDER}/study-{study.number:04d}" if num_dicom.get(study.number) else "",
            }
        )
    return pd.DataFrame(rows)


def rounded_ml(millilitres: float | None) -> float:
    """To a tenth, since nobody measures blood on CT more finely; NaN where it is not measured."""
    return float("nan") if millilitres is None else round(millilitres, _ML_DIGITS)


def as_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV that a spreadsheet opens as it is: UTF-8 with a byte order mark.

    Texts that a spreadsheet would change get an apostrophe in front: those of strangers that it would take for a
    formula, and numbers whose zeros or digits it would drop, as of a PatientID. Control characters are replaced.
    """
    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]) and not pd.api.types.is_bool_dtype(safe[column]):
            safe[column] = safe[column].map(_unchanged)
    return _BYTE_ORDER_MARK + safe.to_csv(index=False)


def _unchanged(value: object) -> object:
    if not isinstance(value, str):
        return value
    value = printable(value)
    return f"'{value}" if value.startswith(_FORMULA) or _CHANGED_NUMBER.fullmatch(value) else value


def printable(text: str) -> str:
    """The text with a replacement character for each that steers a terminal or turns its direction."""
    return _CONTROLS.sub("\ufffd", text)


def most_probable(result: StudyResult) -> ScoredSlice | None:
    """The slice on which any bleed is most probable; None where none was scored."""
    usable = [one for one in result.slices if not one.error]
    return max(usable, key=lambda one: one.said[f"probability_{ANY}"], default=None)


def series_table(studies: Sequence[Study]) -> pd.DataFrame:
    """A row a series: whether it was chosen, and why."""
    return pd.DataFrame([asdict(row) for study in studies for row in study.rows])


def skipped_table(skipped: Sequence[Skipped]) -> pd.DataFrame:
    """A row a file that is not used."""
    return pd.DataFrame(
        [asdict(one) for one in skipped],
        columns=["file", "reason", "detail", "patient_id", "study_uid", "modality"],
    )


def _slice(one: ScoredSlice, says: Sequence[str]) -> dict[str, object]:
    series = one.series
    return {
        "series_uid": series.series_uid,
        "sop_uid": series.sop_uids[one.place],
        "file": series.files[one.place].name,
        "slice": one.place + 1,
        "position_mm": series.positions_mm[one.place],
        **{column: one.said.get(column) for column in says},
        "warnings": "; ".join(one.warnings),
        "error": one.error,
    }
