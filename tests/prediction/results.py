"""Studies and what is said of them, made up."""

from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.plan import PlannedSeries, SeriesRow, Study
from ich_mlflow.prediction.score import SeriesScore

EPIDURAL, INTRAPARENCHYMAL = 0, 1


def planned(key="k", *, slices=3, remarks=(), series_uid="1.2.3"):
    return PlannedSeries(
        key=key, patient_id="p", study_uid="s", study_date="20260101", series_uid=series_uid, description="HEAD",
        files=tuple(InputFile(name=f"{key}/{k}.dcm", path=None, num_bytes=1) for k in range(slices)),
        sop_uids=tuple(f"{key}.{k}" for k in range(slices)),
        patient_ids=("p",) * slices, positions_mm=tuple(5.0 * k for k in range(slices)),
        remarks=remarks,
    )  # fmt: skip


def study(*series, number=1, why="localizer"):
    row = SeriesRow(
        patient_id="p", study_uid="s", series_uid="9", number=1, description="x", num_slices=1, step_mm=float("nan"),
        chosen=False, why=why,
    )  # fmt: skip
    return Study(
        number=number, patient_id="p", study_uid="s", study_date="20260101", series=tuple(series), rows=(row,)
    )


def score(*of_slices, warnings=None, errors=None, blood_mm2=(), distance=None):
    """of_slices: what the network says of the five subtypes of each slice, () of one that can't be read.

    blood_mm2: of each slice the areas of all blood and of the five subtypes.
    """
    return SeriesScore(
        outputs=tuple(of_slices),
        warnings=tuple(warnings or [()] * len(of_slices)),
        errors=tuple(errors or ["" if one else "is cut short" for one in of_slices]),
        blood_mm2=tuple(blood_mm2),
        distance=distance,
    )
