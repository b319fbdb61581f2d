"""Look at every file's header: which are CT images of which study and series, and what the others are."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tqdm import tqdm

from ich_mlflow.dicom.image_header import ImageHeader, NoCTImageError, read_image_header
from ich_mlflow.errors import SliceError
from ich_mlflow.intake.files import InputFile
from ich_mlflow.system.processes import behave, interrupts_ignored

#: Fewer files than this are looked at sooner than processes start.
_WORTH_PROCESSES = 2000
_CHUNK = 100
DUPLICATE = "duplicate"
#: The system did not give it: at another try it may. And: a library failed on it.
UNREADABLE, UNEXPECTED = "unreadable", "unexpected"
#: Of a link to what lies outside the input.
LINK = "link"
#: The reason of what packs other files and is not unpacked.
ARCHIVE = "archive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A CT image of the input."""

    file: InputFile
    header: ImageHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A file that is not used: its name in the input, one word why, and a sentence.

    patient_id, study_uid, modality: of a DICOM file that is no CT image, what it says.
    """

    file: str
    reason: str
    detail: str
    patient_id: str = ""
    study_uid: str = ""
    modality: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyWithoutCT:
    """A study of which no file is a CT image. modalities: of its files, the most frequent first."""

    patient_id: str
    study_uid: str
    modalities: tuple[str, ...]
    num_files: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """images: by study, in the order of their files. skipped: the other files, in their order."""

    studies: dict[tuple[str, str], list[Image]]
    skipped: list[Skipped]

    @property
    def num_images(self) -> int:
        return sum(map(len, self.studies.values()))

    def reasons(self) -> Counter[str]:
        """How many files were skipped for each reason."""
        return Counter(one.reason for one in self.skipped)

    def without_ct(self) -> list[StudyWithoutCT]:
        """The studies that have no CT image, in the order of their files."""
        with_ct = {study_uid for _, study_uid in self.studies}
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for one in self.skipped:
            if one.study_uid and one.study_uid not in with_ct:
                found[one.patient_id, one.study_uid].append(one.modality)
        return [
            StudyWithoutCT(
                patient_id=patient_id,
                study_uid=study_uid,
                modalities=tuple(name for name, _ in Counter(modalities).most_common()),
                num_files=len(modalities),
            )
            for (patient_id, study_uid), modalities in found.items()
        ]


def survey(files: Sequence[InputFile], *, workers: int = 1) -> Survey:
    """Read the headers of the files. Of several with one SOPInstanceUID in a series the largest is kept.

    A study is told by PatientID and StudyInstanceUID; one without the latter is its series. One that bears several
    PatientIDs, slice by slice, is one study under the most frequent. workers: processes.
    """
    images: dict[int, Image] = {}
    skipped: dict[int, Skipped] = {}
    for place, (file, found) in enumerate(zip(files, _headers(files, workers), strict=True)):
        if isinstance(found, ImageHeader):
            images[place] = Image(file=file, header=found)
        else:
            skipped[place] = found
    kept = _without_duplicates(images, skipped)
    return Survey(studies=group_studies(kept), skipped=[skipped[place] for place in sorted(skipped)])


def group_studies(images: Sequence[Image]) -> dict[tuple[str, str], list[Image]]:
    """The images of each study, told by PatientID and StudyInstanceUID, in the order of their files."""
    by_uid: dict[str, dict[str, list[Image]]] = defaultdict(lambda: defaultdict(list))
    for image in images:
        header = image.header
        by_uid[header.study_uid or header.series_uid][header.patient_id].append(image)
    found: dict[tuple[str, str], list[Image]] = {}
    for study_uid, patients in by_uid.items():
        if len(patients) > 1 and _is_one_patient(patients):
            patient_id = max(patients, key=lambda one: (len(patients[one]), len(one), one))
            of_all = {id(image) for mine in patients.values() for image in mine}
            found[patient_id, study_uid] = [image for image in images if id(image) in of_all]
        else:
            found |= {(patient_id, study_uid): mine for patient_id, mine in patients.items()}
    places = {id(image): place for place, image in enumerate(images)}
    return dict(sorted(found.items(), key=lambda one: places[id(one[1][0])]))


def _is_one_patient(patients: Mapping[str, Sequence[Image]]) -> bool:
    """Whether a study under several PatientIDs is of one patient: each has slices that the others lack, of one series.

    Anonymised exports that give all patients the same UIDs have the same slices under each: those are several.
    """
    slices = [{image.header.sop_uid for image in mine} for mine in patients.values()]
    places = [
        {
            (image.header.series_uid, round(image.header.position_mm, 1))
            for image in mine
            if math.isfinite(image.header.position_mm)
        }
        for mine in patients.values()
    ]
    series = [{image.header.series_uid for image in mine} for mine in patients.values()]
    alike = len({name.strip().lstrip("0").lower() for name in patients}) == 1
    # Counted, not compared in pairs: an anonymiser may have given every image a PatientID of its own.
    patients_of = Counter(uid for mine in series for uid in mine)
    shared = all(any(patients_of[uid] > 1 for uid in mine) for mine in series)
    return _are_apart(slices) and _are_apart(places) and (alike or shared)


def _are_apart(sets: Sequence[Set[Hashable]]) -> bool:
    """Whether nothing is in two of the sets."""
    return sum(map(len, sets)) == len(set[Hashable]().union(*sets))


def _headers(files: Sequence[InputFile], workers: int) -> Iterator[ImageHeader | Skipped]:
    """Of each file its header, or why it is not used. On a terminal with a bar."""
    bar = partial(tqdm, total=len(files), desc="headers", unit="file", disable=None, leave=False)
    if workers <= 1 or len(files) < _WORTH_PROCESSES:
        yield from bar(map(_header, files))
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=behave)
    try:
        with interrupts_ignored():
            found: Iterable[ImageHeader | Skipped] = pool.map(_header, files, chunksize=_CHUNK)
        yield from bar(found)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _header(file: InputFile) -> ImageHeader | Skipped:
    skipped = partial(Skipped, file=file.name)
    if file.leads_out:
        return skipped(
            reason=LINK,
            detail="is a link that leads out of the folder: pass -P follow_links=true to follow it",
        )
    try:
        return read_image_header(file.path)
    except NoCTImageError as error:
        return skipped(
            reason=error.reason,
            detail=str(error),
            patient_id=error.patient_id,
            study_uid=error.study_uid,
            modality=error.modality,
        )
    except SliceError as error:
        return skipped(reason=error.reason, detail=str(error))
    except Exception as error:  # one odd file must not end a survey of thousands
        return skipped(reason=UNEXPECTED, detail=f"its header can't be understood ({type(error).__name__})")


def _without_duplicates(images: Mapping[int, Image], skipped: dict[int, Skipped]) -> list[Image]:
    """The largest of those with the same identity: copies may be cut short. Of equal ones the first.

    The patient belongs to it: anonymised exports have been seen that give all patients the same UIDs.
    """
    best: dict[tuple[str, ...], int] = {}
    for place, image in images.items():
        header = image.header
        key = (header.patient_id, header.study_uid, header.series_uid, header.sop_uid)
        if key not in best or image.file.num_bytes > images[best[key]].file.num_bytes:
            best[key] = place
    kept = set(best.values())
    for place in images.keys() - kept:
        skipped[place] = Skipped(
            file=images[place].file.name, reason=DUPLICATE, detail="is a copy of another file of the input"
        )
    return [images[place] for place in sorted(kept)]
