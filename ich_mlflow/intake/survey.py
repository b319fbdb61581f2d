"""Look at every file's header: which are CT images of which study and series, and what the others are."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from tqdm import tqdm

from ich_mlflow.dicom.image_header import ImageHeader, read_image_header
from ich_mlflow.errors import SliceError
from ich_mlflow.intake.files import InputFile
from ich_mlflow.system.processes import behave, interrupts_ignored

#: Fewer files than this are looked at sooner than processes start.
_WORTH_PROCESSES = 2000
_CHUNK = 100
DUPLICATE = "duplicate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A CT image of the input."""

    file: InputFile
    header: ImageHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A file that is not used: its name in the input, one word why, and a sentence."""

    file: str
    reason: str
    detail: str


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


def survey(files: Sequence[InputFile], *, workers: int = 1) -> Survey:
    """Read the headers of the files. Of several with one SOPInstanceUID in a series the largest is kept.

    A study is told by PatientID and StudyInstanceUID; one without the latter is its series. workers: processes.
    """
    images: dict[int, Image] = {}
    skipped: dict[int, Skipped] = {}
    for place, (file, found) in enumerate(zip(files, _headers(files, workers), strict=True)):
        if isinstance(found, ImageHeader):
            images[place] = Image(file=file, header=found)
        else:
            skipped[place] = Skipped(file=file.name, reason=found[0], detail=found[1])
    kept = _without_duplicates(images, skipped)
    studies: dict[tuple[str, str], list[Image]] = defaultdict(list)
    for image in kept:
        header = image.header
        studies[header.patient_id, header.study_uid or header.series_uid].append(image)
    return Survey(studies=dict(studies), skipped=[skipped[place] for place in sorted(skipped)])


def _headers(files: Sequence[InputFile], workers: int) -> Iterator[ImageHeader | tuple[str, str]]:
    """Of each file its header, or reason and sentence. On a terminal with a bar."""
    bar = partial(tqdm, total=len(files), desc="headers", unit="file", disable=None, leave=False)
    if workers <= 1 or len(files) < _WORTH_PROCESSES:
        yield from bar(map(_header, files))
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=behave)
    try:
        with interrupts_ignored():
            found: Iterable[ImageHeader | tuple[str, str]] = pool.map(_header, files, chunksize=_CHUNK)
        yield from bar(found)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _header(file: InputFile) -> ImageHeader | tuple[str, str]:
    try:
        return read_image_header(file.path)
    except SliceError as error:
        return error.reason, str(error)
    except Exception as error:  # one odd file must not end a survey of thousands
        return "unreadable", f"its header can't be understood ({type(error).__name__})"


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
