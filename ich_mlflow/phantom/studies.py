"""Studies as a hospital exports them: the non-contrast head CT among other series, and files that are no images.

For trying and testing predict: what it has to choose is known.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ich_mlflow.dicom.write_export import CT, MR, SECONDARY_CAPTURE, uid_of, write_directory, write_image
from ich_mlflow.errors import OptionError
from ich_mlflow.phantom import other_series
from ich_mlflow.phantom.exam import Exam, ExamOptions, make_exam
from ich_mlflow.phantom.other_series import OtherSeries
from ich_mlflow.system.whole import write_whole

NON_CONTRAST = "non-contrast"
#: Of series that are written as something else than CT images.
_SOP_KINDS = {"dose_sheet": SECONDARY_CAPTURE, "mr": MR}
#: What studies hold beside the non-contrast scan, in turn; the first has everything.
KINDS = (
    "localizer", "bone", "thin", "contrast", "contrast_by_name", "coronal", "chest", "chest_untagged", "dose_sheet",
    "mr",
)  # fmt: skip
_OF_STUDY = (
    KINDS,
    ("localizer", "bone", "chest_untagged"),
    ("thin", "contrast_by_name", "mr"),
    ("dose_sheet",),
)
JUNK = ("pdf", "text", "empty", "directory", "duplicate", "truncated")


@dataclass(frozen=True, kw_only=True)
class StudySetOptions:
    """studies: of so many patients, 1 or more; every fourth has a chest alone. seed, rows, exam_rate: ExamOptions'.

    others: whether studies hold other series. junk: so many files that are no images of their own, of JUNK in turn.
    """

    studies: int = 4
    seed: int = 0
    rows: int = 512
    exam_rate: float | None = None
    others: bool = True
    junk: int = 0

    def __post_init__(self) -> None:
        if self.studies < 1 or self.junk < 0:
            raise OptionError(
                f"studies is {self.studies} and junk {self.junk}, expected 1 or more and 0 or more"
            )


@dataclass(frozen=True, kw_only=True)
class WrittenSeries:
    """A series that was written. is_right: the one that predict has to choose."""

    study_uid: str
    series_uid: str
    kind: str
    num_slices: int
    is_right: bool


def write_study_set(folder: Path, options: StudySetOptions) -> list[WrittenSeries]:
    """Write the studies below `folder`, which must not be there; return their series.

    `<folder>.truth.json` beside it lists them and counts the junk.
    """
    folder.mkdir(parents=True)
    written: list[WrittenSeries] = []
    images: list[Path] = []
    exam_options = ExamOptions(seed=options.seed, rows=options.rows, exam_rate=options.exam_rate)
    for number in tqdm(range(options.studies), desc="phantom studies", unit="study", disable=None):
        for place, (kind, series) in enumerate(_series_of(exam_options, number, options.others), start=1):
            paths, one = write_series(folder, options.seed, number, place, kind, series)
            images += paths if kind == NON_CONTRAST else []
            written.append(one)
    junk = _write_junk(folder, images, options)
    truth = {"series": [asdict(one) for one in written], "junk": junk}
    write_whole(folder.with_name(f"{folder.name}.truth.json"), json.dumps(truth, indent=2))
    return written


def _series_of(options: ExamOptions, number: int, others: bool) -> Iterator[tuple[str, OtherSeries]]:
    rng = np.random.default_rng((options.seed, number, 7))
    if others and number % 4 == 3:
        yield "chest", other_series.chest(rng, tagged=True)
        return
    # Numbers without second exams: each study is of another patient.
    exam = make_exam(options, number // 7 * 8 + number % 7)
    if others:
        for kind in _OF_STUDY[number % 4]:
            yield kind, _made(kind, exam, rng)
    yield NON_CONTRAST, other_series.non_contrast(exam)


def _made(kind: str, exam: Exam, rng: np.random.Generator) -> OtherSeries:
    if kind.startswith("chest"):
        return other_series.chest(rng, tagged=kind == "chest")
    if kind.startswith("contrast"):
        return other_series.contrast(exam, rng, tagged=kind == "contrast")
    if kind == "bone":
        return other_series.bone(exam, rng)
    if kind == "mr":
        return other_series.mr(rng)
    if kind == "dose_sheet":
        return other_series.dose_sheet()
    return {"thin": other_series.thin, "coronal": other_series.coronal, "localizer": other_series.localizer}[
        kind
    ](exam)


def write_series(
    folder: Path, seed: int, number: int, place: int, kind: str, series: OtherSeries
) -> tuple[list[Path], WrittenSeries]:
    """Write a series of study `number` at its `place` in it; return its files and what it is."""
    tags = _tags(seed, number, place, kind, series)
    # Half of the exports name files as on a CD, without an extension.
    name = "IM{:04d}" if number % 2 else "{:04d}.dcm"
    below = folder / f"PHANTOM-{number:04d}" / f"ST{1:04d}" / f"SE{place:04d}"
    paths = []
    # As most files come: from the head down.
    for k in range(len(series.pixels)):
        at = len(series.pixels) - 1 - k
        own = {
            "SOPInstanceUID": uid_of(seed, number, kind, k),
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [f"{value:.6g}" for value in series.positions[at]],
        }
        if not series.orientation:
            del own["ImagePositionPatient"]
        path = below / name.format(k + 1)
        own |= series.own[at] if series.own else {}
        told = {keyword: value for keyword, value in {**tags, **own}.items() if value is not None}
        write_image(path, series.pixels[at], told, kind=_SOP_KINDS.get(kind, CT))
        paths.append(path)
    written = WrittenSeries(
        study_uid=tags["StudyInstanceUID"],
        series_uid=tags["SeriesInstanceUID"],
        kind=kind,
        num_slices=len(paths),
        is_right=kind.startswith(NON_CONTRAST),
    )
    return paths, written


def _tags(seed: int, number: int, place: int, kind: str, series: OtherSeries) -> dict[str, Any]:
    """All but what tells one image of the series from another."""
    geometry = (
        {
            "ImageOrientationPatient": [f"{value:.6g}" for value in series.orientation],
            "FrameOfReferenceUID": uid_of(seed, number, "frame"),
            "PositionReferenceIndicator": "",
            "PatientPosition": "HFS",
            "PixelSpacing": [f"{value:.6g}" for value in series.pixel_mm],
            "SliceThickness": "",
            "AcquisitionNumber": 1,
            "KVP": "120",
        }
        if series.orientation
        else {}
    )
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Modality": "CT",
        "Manufacturer": "ich_mlflow phantom",
        "PatientName": f"Phantom^Number {number}",
        "PatientID": f"PHANTOM-{number:04d}",
        "PatientBirthDate": "19500101",
        "PatientSex": "O",
        "StudyInstanceUID": uid_of(seed, number, "study"),
        "SeriesInstanceUID": uid_of(seed, number, kind, "series"),
        "StudyID": str(number + 1),
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "AccessionNumber": f"A{number:06d}",
        "ReferringPhysicianName": "",
        "StudyDescription": "CT HEAD AND CHEST",
        "SeriesNumber": place,
        **geometry,
        **series.tags,
    }


def _write_junk(folder: Path, images: list[Path], options: StudySetOptions) -> dict[str, int]:
    """Files of each kind in turn, here and there."""
    counts = dict.fromkeys(JUNK, 0)
    for number in range(options.junk):
        kind = JUNK[number % len(JUNK)]
        if kind in ("duplicate", "truncated") and not images:
            continue
        below = folder / f"PHANTOM-{number % options.studies:04d}"
        image = images[number * 7 % len(images)] if images else folder
        if kind == "pdf":
            (below / f"report-{number}.pdf").write_bytes(b"%PDF-1.7\n" + b"x" * 1000)
        elif kind == "text":
            (below / f"notes-{number}.txt").write_text("nothing to see here\n" * 20, encoding="utf-8")
        elif kind == "empty":
            (below / f"empty-{number}").touch()
        elif kind == "directory":
            write_directory(below / ("DICOMDIR" if number < len(JUNK) else f"DICOMDIR-{number}"))
        elif kind == "duplicate":
            (below / f"copy-{number}").write_bytes(image.read_bytes())
        else:
            data = image.read_bytes()
            (below / f"cut-{number}").write_bytes(data[: len(data) // 2])
        counts[kind] += 1
    return counts
