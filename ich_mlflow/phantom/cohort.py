"""Many exams, written as DICOM in the layout of RSNA 2019 with its CSV, and masks of the blood beside them."""

import json
import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ich_mlflow.dicom.write import Encoding, Identity, require_encoders, write_slice
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.phantom import quirks
from ich_mlflow.phantom.exam import Exam, ExamOptions, make_exam
from ich_mlflow.phantom.lesions import write_lesions
from ich_mlflow.system.processes import (
    behave,
    interrupts_ignored,
    let_go_to_rename,
    locked,
    num_cores,
)
from ich_mlflow.system.whole import read_note, write_whole

#: Changes whenever the same options would make other pixels.
GENERATOR_VERSION = 1
OPTIONS_FILE = "cohort.json"
TABLE_FILE = "stage_2_train.csv"
SLICES_FOLDER = "stage_2_train"
_LOCK = "writer.lock"
#: While a cohort is written: a note of every exam that is done.
_NOTES = "notes"

#: How RSNA 2019's files are encoded, about as often: 55 % 16-bit signed, 43 % 12-bit unsigned.
_ENCODINGS = (
    Encoding(bits_stored=16, signed=True, intercept=-1024),
    Encoding(bits_stored=12, signed=False, intercept=-1024),
    Encoding(bits_stored=12, signed=False, intercept=-1000),
)
_ENCODING_SHARES = (0.55, 0.43, 0.02)


@dataclass(frozen=True, kw_only=True)
class CohortOptions(ExamOptions):
    """A cohort: ExamOptions, and how many exams (1 or more). Fewer patients: some are examined twice.

    quirks: exams are written in all of phantom.quirks' kinds, with one of each of its faults.
    """

    exams: int
    quirks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exams < 1:
            raise OptionError(f"exams is {self.exams}, expected 1 or more: pass -P exams=60")


def write_cohort(
    folder: Path, options: CohortOptions, *, workers: int | None = None, progress: bool = True
) -> Path:
    """Write the cohort into `folder`, or find it there made before with the same options; return the folder.

    It is written to `<folder>.partial` and renamed when whole; a call that was cut off is gone on with. workers:
    processes, None for one a core, 1 for this process. Raises DataError where the folder holds anything else,
    OptionError where quirks need an encoder that is not there.
    """
    folder = Path(folder)
    if folder.exists():
        _check_same(folder, options)
        return folder
    if options.quirks:
        require_encoders()
    partial_folder = folder.with_name(folder.name + ".partial")
    try:
        partial_folder.mkdir(parents=True, exist_ok=True)
        with locked(partial_folder, _LOCK):
            return _write_cohort(folder, partial_folder, options, workers=workers, progress=progress)
    except OSError as error:
        raise DataError(
            f"{folder} can't be written ({error.strerror}): check its disk; the same command goes on from what is in "
            f"{partial_folder}"
        ) from None


def _write_cohort(
    folder: Path, partial_folder: Path, options: CohortOptions, *, workers: int | None, progress: bool
) -> Path:
    _begin(partial_folder, options)
    rows, planted = ["ID,Label"], ["file,reason,tag"]
    write = partial(_write_exam, partial_folder, options)
    bar = tqdm(total=options.exams, desc="phantom exams", unit="exam", disable=not progress, file=sys.stderr)
    with bar:
        for exam_rows, exam_planted in _map(write, range(options.exams), workers):
            rows += exam_rows
            planted += exam_planted
            bar.update()
    write_whole(partial_folder / TABLE_FILE, "\n".join(rows) + "\n")
    if options.quirks:
        write_whole(partial_folder / quirks.PLANTED_FILE, "\n".join(planted) + "\n")
    shutil.rmtree(partial_folder / _NOTES)
    let_go_to_rename(partial_folder)
    (partial_folder / _LOCK).unlink(missing_ok=True)
    os.rename(partial_folder, folder)
    return folder


def _begin(partial_folder: Path, options: CohortOptions) -> None:
    """Go on in the folder where a cohort of these options was begun in it; else empty it."""
    description = _description(options)
    if _described(partial_folder) == description:
        # Cut off after the notes were removed, and before the folder was renamed, it has none.
        (partial_folder / _NOTES).mkdir(exist_ok=True)
        return
    for left_over in partial_folder.iterdir():
        if left_over.is_dir():
            shutil.rmtree(left_over)
        elif left_over.name != _LOCK:
            left_over.unlink()
    (partial_folder / SLICES_FOLDER).mkdir()
    (partial_folder / _NOTES).mkdir()
    write_whole(partial_folder / OPTIONS_FILE, json.dumps(description, indent=2) + "\n")


def cohort_settings(options: CohortOptions) -> dict[str, Any]:
    """What tells a cohort from others: its options, without the edition where it is that of cohorts of 0.1."""
    settings = asdict(options)
    if options.edition == 1:
        del settings["edition"]
    return settings


def encoding_of(exam: Exam) -> Encoding:
    """The encoding of an exam's files: one of RSNA's kinds, the same for all its slices."""
    draw = np.random.default_rng(int(exam.series_uid.removeprefix("ID_"), 16))
    encoding = _ENCODINGS[draw.choice(len(_ENCODINGS), p=_ENCODING_SHARES)]
    return replace(encoding, syntax="implicit" if draw.random() < 0.5 else "explicit")


def _write_exam(folder: Path, options: CohortOptions, number: int) -> tuple[list[str], list[str]]:
    """Write an exam's slices and masks unless that was done before; return its rows of the CSV and of what was planted.

    Its note is written last.
    """
    note = folder / _NOTES / f"{number}.json"
    noted = read_note(note, lambda values: (list(values["rows"]), list(values["planted"])))
    if noted is not None:
        return noted
    rows, planted = _write_slices(folder, options, number)
    found = [f"{one.file},{one.reason},{one.tag}" for one in planted]
    write_whole(note, json.dumps({"rows": rows, "planted": found}))
    return rows, found


def _write_slices(
    folder: Path, options: CohortOptions, number: int
) -> tuple[list[str], list[quirks.Planted]]:
    cv2.setNumThreads(1)
    exam = make_exam(options, number)
    kind = quirks.kind_of(number) if options.quirks else quirks.Kind(name="", encoding=encoding_of(exam))
    hu = quirks.as_written(exam.hu, kind)
    faults = quirks.faults_of(number, options.exams, len(hu)) if options.quirks else {}
    rows: list[str] = []
    planted = []
    for k, own_uid in enumerate(exam.sop_uids):
        pixels, sop_uid = hu[k], own_uid
        if faults.get(k) == "known_damage":
            sop_uid = quirks.DAMAGED_UID
            pixels = quirks.noise_below(pixels, np.random.default_rng(options.seed))
        path = folder / SLICES_FOLDER / f"{sop_uid}.dcm"
        write_slice(path, pixels, _identity(exam, k, sop_uid, kind), kind.encoding)
        write_lesions(folder, sop_uid, quirks.lesions_as_written(exam.blood[:, k], kind))
        labels = dict(zip(SUBTYPES, exam.subtypes[k], strict=True)) | {ANY: exam.subtypes[k].max()}
        slice_rows = [f"{sop_uid}_{label},{value}" for label, value in labels.items()]
        if k in faults:
            slice_rows, one = quirks.plant(faults[k], path, slice_rows, SLICES_FOLDER)
            planted += [one] if one is not None else []
        rows += slice_rows
    return rows, planted


def _identity(exam: Exam, k: int, sop_uid: str, kind: quirks.Kind) -> Identity:
    geometry = exam.geometry
    # The middle two slices share a position where the kind says so.
    place = k - 1 if kind.repeated_z and k == len(exam.hu) // 2 else k
    return Identity(
        sop_uid=sop_uid,
        patient_id=exam.patient_id,
        study_uid=exam.study_uid,
        series_uid=exam.series_uid,
        position=geometry.position(place),
        orientation=geometry.orientation,
        pixel_spacing_mm=(geometry.pixel_mm, geometry.pixel_mm),
    )


def _map(write: partial[Any], numbers: range, workers: int | None):  # type: ignore[no-untyped-def]
    num_workers = min(workers or num_cores(), len(numbers))
    if num_workers <= 1:
        yield from map(write, numbers)
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=spawn, initializer=behave)
    try:
        with interrupts_ignored():
            results = pool.map(write, numbers)
        yield from results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _description(options: CohortOptions) -> dict[str, object]:
    return {"generator_version": GENERATOR_VERSION, **cohort_settings(options)}


def _described(folder: Path) -> object:
    """What the folder's cohort was made by; None where it says nothing."""
    return read_note(folder / OPTIONS_FILE, dict)


def _check_same(folder: Path, options: CohortOptions) -> None:
    found = _described(folder)
    if found is None:
        raise DataError(
            f"{folder} exists and is no phantom cohort (no readable {OPTIONS_FILE}): choose another folder, or "
            "remove it"
        )
    if found != _description(options):
        raise DataError(
            f"{folder} holds a phantom cohort made with other options ({OPTIONS_FILE}): choose another folder, "
            "or remove it"
        )
