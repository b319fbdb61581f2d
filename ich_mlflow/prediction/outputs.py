"""What is made of one scored study: its report, captures and segmentations as DICOM, and pictures for the page."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.dicom.capture import write_captures
from ich_mlflow.dicom.findings import Algorithm, LabelFinding, write_findings
from ich_mlflow.dicom.segmentation import write_segmentation
from ich_mlflow.errors import DataError, IchError
from ich_mlflow.prediction.lesions import find_blood
from ich_mlflow.prediction.out_folder import STUDY_NOTE, OutFolder, digest_of
from ich_mlflow.prediction.pictures import Drawn, choose_slices, draw, page_picture
from ich_mlflow.prediction.verdict import FLAGGED, ScoredSlice, StudyResult
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.system.whole import read_note, write_whole


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """pictures: slices shown of a flagged study, 0 for none. dicom: write DICOM. algorithm: for what is written."""

    pictures: int
    dicom: bool
    algorithm: Algorithm


@dataclass(frozen=True, kw_only=True)
class MadeOutputs:
    """pictures: caption and file name below OutFolder.pictures. dicom: how many files; why_none: why there are none,
    and whether that may_pass."""

    pictures: tuple[tuple[str, str], ...]
    dicom: int
    why_none: str
    may_pass: bool = False


def make_outputs(classifier: Classifier, result: StudyResult, out: OutFolder, options: OutputOptions) -> int:
    """Make a study's outputs and note that they are; returns the study's number.

    Raises OSError where something can't be written: a full disk is no odd header.
    """
    drawn: list[Drawn] = []
    why_none, may_pass = "", False
    if result.status == FLAGGED and options.pictures:
        try:
            drawn = draw(choose_slices(result, options.pictures), result, classifier)
        except (DataError, OSError) as error:  # files that have gone since they were scored
            why_none, may_pass = f"no pictures could be made of it ({type(error).__name__})", True
    pictures = []
    for number, one in enumerate(drawn, start=1):
        name = f"{_note_path(out, result).stem}-{number}.jpg"
        write_whole(out.pictures / name, page_picture(one))
        pictures.append((one.chosen.caption, name))
    num_dicom = 0
    if options.dicom:
        folder = out.study_folder(result.study.number)
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier start made, perhaps of another study
        try:
            num_dicom = _write_dicom(classifier, result, drawn, folder, options)
            num_lesions, why_no_lesions = _write_lesions(classifier, result, folder, options)
            num_dicom, why_none = num_dicom + num_lesions, why_none or why_no_lesions
        except DataError as error:  # a study without identifiers has a place on the worklist, and no report
            why_none = f"no DICOM could be made of it: {error}"
        except OSError:
            raise
        except Exception as error:  # highdicom and pydicom raise anything at odd headers
            why_none = f"no DICOM could be made of it ({type(error).__name__})"
        if why_none and not num_dicom:
            shutil.rmtree(folder, ignore_errors=True)
    note = {"pictures": pictures, "dicom": num_dicom, "why_none": why_none, "may_pass": may_pass}
    write_whole(_note_path(out, result), json.dumps(note))
    return result.study.number


def made_outputs(out: OutFolder, result: StudyResult) -> MadeOutputs | None:
    """What make_outputs noted; None where it has not been done, or the note is broken."""

    def made(values: dict[str, Any]) -> MadeOutputs:
        pictures = tuple((caption, name) for caption, name in values["pictures"])
        return MadeOutputs(
            pictures=pictures,
            dicom=int(values["dicom"]),
            why_none=str(values["why_none"]),
            may_pass=bool(values["may_pass"]),
        )

    return read_note(_note_path(out, result), made)


def findings_of(result: StudyResult, classifier: Classifier, operating_point: str) -> list[LabelFinding]:
    """What is said of the exam, of each finding."""
    specification = classifier.specification
    thresholds = specification.exams.thresholds(operating_point)
    return [
        LabelFinding(
            label=label,
            probability=result.said[f"probability_{label}"],
            is_positive=result.said[f"decision_{label}"],
            threshold=float(threshold),
            blood_ml=result.blood_ml.get(label),
        )
        for label, threshold in zip(specification.findings, thresholds, strict=True)
    ]


def _write_dicom(
    classifier: Classifier,
    result: StudyResult,
    drawn: Sequence[Drawn],
    folder: Path,
    options: OutputOptions,
) -> int:
    folder.mkdir(parents=True)
    seed = _seed(result, options)
    key_slices: dict[str, list[Path]] = {}
    for one in drawn:
        key_slices.setdefault(one.chosen.label, []).append(_path(one))
    write_findings(
        folder / "findings.dcm",
        [one.series.files[one.place].path for one in result.slices if not one.error],
        findings_of(result, classifier, options.algorithm.operating_point),
        options.algorithm,
        key_slices=key_slices,
        uid_seed=seed,
        planned=[_identity(one) for one in result.slices if not one.error],
    )
    # A capture of the slice alone would be a copy of what the viewer has.
    mapped = [(one, one.heat_map) for one in drawn if one.heat_map is not None]
    if mapped:
        write_captures(
            [folder / f"heat-map-{number:02d}.dcm" for number in range(1, len(mapped) + 1)],
            [_path(one) for one, _ in mapped],
            [heat_map for _, heat_map in mapped],
            [one.chosen.caption for one, _ in mapped],
            uid_seed=seed,
            planned=[_identity(one.chosen.slice) for one, _ in mapped],
        )
    return 1 + len(mapped)


def _identity(one: ScoredSlice) -> tuple[str, str]:
    return one.series.sop_uids[one.place], one.series.patient_ids[one.place]


def _write_lesions(
    classifier: Classifier, result: StudyResult, folder: Path, options: OutputOptions
) -> tuple[int, str]:
    """Segmentations of a flagged study's series, where the model finds blood: how many, and why there are none.

    What can't be laid over the slices costs the segmentation alone, not the report.
    """
    if result.status != FLAGGED or not classifier.finds_blood:
        return 0, ""
    try:
        found = find_blood(result, classifier)
        for number, one in enumerate(found, start=1):
            write_segmentation(
                folder / f"lesions-{number:02d}.dcm",
                [one.series.files[place].path for place in one.places],
                one.blood,
                options.algorithm,
                uid_seed=_seed(result, options),
                planned=[(one.series.sop_uids[place], one.series.patient_ids[place]) for place in one.places],
            )
    except OSError:
        raise
    except IchError as error:
        return 0, f"no segmentation could be made of it: {error}"
    except Exception as error:  # as in make_outputs
        return 0, f"no segmentation could be made of it ({type(error).__name__})"
    return len(found), ""


def _seed(result: StudyResult, options: OutputOptions) -> str:
    """Another model, another choice of slices: another document.

    The same slices, whatever their files are called and wherever they lie: the same one, which a PACS then has once.
    """
    slices = sorted(uid for series in result.study.series for uid in series.sop_uids)
    return digest_of(options.algorithm, options.pictures, *slices)


def _path(drawn: Drawn) -> Path:
    one = drawn.chosen.slice
    return one.series.files[one.place].path


def _note_path(out: OutFolder, result: StudyResult) -> Path:
    return (
        out.notes
        / f"{STUDY_NOTE}{digest_of(result.study.number, *(one.key for one in result.study.series))}.json"
    )
