"""One series to what the network says of its slices, and the notes that survive a crash."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ich_mlflow.dicom.part10 import read_file
from ich_mlflow.dicom.slice import Slice, slice_from_bytes
from ich_mlflow.errors import OutputError, SliceError
from ich_mlflow.intake.plan import PlannedSeries
from ich_mlflow.models.family import Reading
from ich_mlflow.models.lesion_maps import cell_counts, found_pixels, millilitres
from ich_mlflow.models.series import known_positions
from ich_mlflow.monitoring.record import MAX_THUMBNAILS, known, soft_tissue, thumbnail
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.rows import Row, row_of_slice
from ich_mlflow.system.whole import read_note, write_whole

#: Slices of a series that are held at a time where they give each other no context.
_BATCH = 64
CHANGED = "the file holds another image than when it was chosen: run predict again"


@dataclass(frozen=True, kw_only=True)
class SeriesScore:
    """What the model says of a series' slices, in the order of its files.

    outputs   of the network, L a slice; empty where the slice can't be used
    exam      what it says of the series itself, L; empty where it says nothing of it
    blood_mm2 area of the blood of each of VOLUMES on each slice, NaN where the size of its pixels is not known; empty
              where the slice can't be used, or the model has no lesion map
    warnings  of each slice; errors: why it can't be used, '' where it can
    soft_tissue_hu  of some of its slices, for the monitor; None where not known
    distance  mean feature distance of the usable slices; None where the model doesn't say it
    may_pass  whether an error may be gone at another try: of the disk, or of the loaded model
    """

    outputs: tuple[tuple[float, ...], ...]
    warnings: tuple[tuple[str, ...], ...]
    errors: tuple[str, ...]
    exam: tuple[float, ...] = ()
    blood_mm2: tuple[tuple[float, ...], ...] = ()
    may_pass: bool = False
    soft_tissue_hu: float | None = None
    distance: float | None = None

    @property
    def usable(self) -> np.ndarray:
        """Places int [m] of the slices that were scored."""
        return np.flatnonzero([not error for error in self.errors])

    def of_usable(self) -> np.ndarray:
        """The network's outputs float64 [m, L]."""
        return np.array([self.outputs[place] for place in self.usable], dtype=np.float64)

    def of_series(self) -> np.ndarray | None:
        """What is said of the series, for each usable slice float64 [m, L]; None where nothing is."""
        return np.tile(np.array(self.exam, dtype=np.float64), (len(self.usable), 1)) if self.exam else None

    def blood_ml(self, positions_mm: Sequence[float]) -> tuple[float, ...] | None:
        """Millilitres of blood of each of VOLUMES in the series, whose slices lie there [n].

        None where that can't be said: without a lesion map, pixel sizes or positions. Slices that can't be used are
        stood for by their neighbours.
        """
        measured = [(at, area) for at, area in zip(positions_mm, self.blood_mm2, strict=False) if area]
        if not measured:
            return None
        places, areas = (np.array(values) for values in zip(*measured, strict=True))
        found = millilitres(areas, places)
        return None if found is None else tuple(found.tolist())


def score_series(series: PlannedSeries, classifier: Classifier) -> SeriesScore:
    """Read and score the slices of a series, as the server would with all of them in one request."""
    size = len(series.files) if classifier.specification.reads_series else _BATCH
    position_mm = known_positions(np.array(series.positions_mm))
    outputs: list[tuple[float, ...]] = []
    warnings: list[tuple[str, ...]] = []
    errors: list[str] = []
    exam: tuple[float, ...] = ()
    may_pass = False
    blood_mm2: list[tuple[float, ...]] = []
    small: list[np.ndarray] = []
    distances: list[float] = []
    every = max(1, math.ceil(len(series.files) / MAX_THUMBNAILS))
    for start in range(0, len(series.files), size):
        places = range(start, min(start + size, len(series.files)))
        rows = [read_row(series, place) for place in places]
        may_pass = may_pass or any(isinstance(row, Lost) and row.may_pass for row in rows)
        good = [place for place, row in zip(places, rows, strict=True) if isinstance(row, Row)]
        whole = [row for row in rows if isinstance(row, Row)]
        try:
            read = (
                classifier.predict_series(np.stack([row.hu for row in whole]), position_mm[good])
                if good
                else None
            )
        except OutputError as error:
            why = str(error)
            return SeriesScore(
                outputs=((),) * len(series.files),
                warnings=((),) * len(series.files),
                errors=(why,) * len(series.files),
                may_pass=True,
            )
        said = iter(() if read is None else read.slices)
        areas = iter(_blood_mm2(whole, read, classifier))
        if read is not None and read.exam is not None:
            exam = tuple(map(float, read.exam))
        if read is not None and read.distance is not None:
            distances += read.distance.tolist()
        small += [thumbnail(row.hu) for row in rows[::every] if isinstance(row, Row)]
        for row in rows:
            usable = isinstance(row, Row)
            outputs.append(tuple(map(float, next(said))) if usable else ())
            blood_mm2.append(next(areas, ()) if usable else ())
            warnings.append(row.warnings if isinstance(row, Row) else ())
            errors.append("" if isinstance(row, Row) else row.why)
    return SeriesScore(
        outputs=tuple(outputs),
        warnings=tuple(warnings),
        errors=tuple(errors),
        exam=exam,
        may_pass=may_pass,
        blood_mm2=tuple(blood_mm2),
        soft_tissue_hu=known(soft_tissue(small)),
        distance=float(np.mean(distances)) if distances else None,
    )


def _blood_mm2(rows: Sequence[Row], read: Reading | None, classifier: Classifier) -> list[tuple[float, ...]]:
    """Areas of the blood of each of VOLUMES on those slices; none where the model doesn't say where it is."""
    if read is None or read.lesions is None:
        return []
    counts = cell_counts(found_pixels(read.lesions, threshold=classifier.blood_threshold))
    pixel_mm2 = np.array([row.pixel_mm2 for row in rows])
    return [tuple(areas) for areas in (counts * pixel_mm2[:, None]).tolist()]


@dataclass(frozen=True)
class Lost:
    """Why a slice can't be used, without the name of its file. may_pass: whether it may be read at another try."""

    why: str
    may_pass: bool = False


def read_row(series: PlannedSeries, place: int) -> Row | Lost:
    """The slice, or why it can't be used.

    Its neighbours are those that the plan has, which knows the order also where positions are missing.
    """
    try:
        row = row_of_slice(read_planned(series, place))
        return replace(row, series=series.key, position_mm=float(place))
    except ChangedFile as error:
        return Lost(str(error), may_pass=True)
    except SliceError as error:
        return Lost(str(error))
    except OSError as error:
        return Lost(f"the file can't be read ({error.strerror}): check its permissions", may_pass=True)


class ChangedFile(SliceError):
    """The file holds another image than when it was chosen."""


def read_planned(series: PlannedSeries, place: int) -> Slice:
    """The slice at that place, read from its file once more.

    Raises ChangedFile where the file now holds another image, whose answer must not stand under this name; SliceError
    where it can't be used, OSError where it can't be read.
    """
    ct = slice_from_bytes(read_file(series.files[place].path), "the file")
    planned = (series.sop_uids[place], series.series_uid, series.patient_ids[place])
    if (ct.sop_uid, ct.series_uid, ct.patient_id) != planned:
        raise ChangedFile(CHANGED)
    return ct


def write_score(folder: Path, key: str, score: SeriesScore) -> None:
    """Note a series' score in the folder of notes."""
    write_whole(_note_path(folder, key), json.dumps(asdict(score)))


def read_score(folder: Path, key: str) -> SeriesScore | None:
    """What write_score noted; None where there is no whole note, so that the series is scored again."""
    return read_note(_note_path(folder, key), _score_of)


def passing_notes(folder: Path) -> list[Path]:
    """The notes, of series and of studies, of what may succeed at another try."""
    return [path for path in folder.iterdir() if read_note(path, lambda values: bool(values.get("may_pass")))]


def _score_of(values: dict[str, Any]) -> SeriesScore:
    outputs, warnings, errors = (values[name] for name in ("outputs", "warnings", "errors"))
    if not len(outputs) == len(warnings) == len(errors):
        raise ValueError("not of the same slices")
    return SeriesScore(
        outputs=tuple(map(tuple, outputs)),
        warnings=tuple(map(tuple, warnings)),
        errors=tuple(errors),
        exam=tuple(values["exam"]),
        may_pass=bool(values["may_pass"]),
        blood_mm2=tuple(map(tuple, values["blood_mm2"])),
        soft_tissue_hu=values.get("soft_tissue_hu"),  # notes of 0.1 have none
        distance=values.get("distance"),
    )


def _note_path(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"
