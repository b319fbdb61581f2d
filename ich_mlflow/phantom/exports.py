"""Studies as hospitals of four vendors and five languages export them, with what has led a choice of series astray.

For measuring which series is chosen: of each study it is known which is right, and whether something has to be said.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ich_mlflow.errors import OptionError
from ich_mlflow.phantom import other_series
from ich_mlflow.phantom.exam import Exam, ExamOptions, make_exam
from ich_mlflow.phantom.other_series import OtherSeries
from ich_mlflow.phantom.studies import NON_CONTRAST, write_series
from ich_mlflow.system.whole import write_whole


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A manufacturer's words: kernels of soft tissue and bone, ImageType's third value and what follows."""

    manufacturer: str
    soft: str
    bone: str
    image_type: tuple[str, ...]


VENDORS = (
    Vendor(manufacturer="GE MEDICAL SYSTEMS", soft="STANDARD", bone="BONEPLUS", image_type=("AXIAL",)),
    Vendor(manufacturer="SIEMENS", soft="Hr38f", bone="Hr64f", image_type=("AXIAL", "CT_SOM5 SEQ")),
    Vendor(manufacturer="Philips", soft="UB", bone="YB", image_type=("AXIAL", "HELIX")),
    Vendor(manufacturer="TOSHIBA", soft="FC26", bone="FC30", image_type=("AXIAL",)),
)


@dataclass(frozen=True, kw_only=True)
class Language:
    """Series' names without and with contrast, of angiography, and of the bone reconstruction."""

    without: tuple[str, ...]
    with_contrast: tuple[str, ...]
    angiography: str
    bone: str


LANGUAGES = (
    Language(
        without=("HEAD WO 5.0", "ROUTINE HEAD", "BRAIN W/O C", "HEAD WO/C", "Head Non-Con"),
        with_contrast=("HEAD C+", "BRAIN W CON", "HEAD POST CONTRAST"),
        angiography="COW 5.0",
        bone="HEAD BONE",
    ),
    Language(
        without=("Schädel nativ 5.0", "Kopf o. KM", "CCT ohne KM", "Schädel o KM"),
        with_contrast=("Kopf m. KM", "Schädel mit Kontrastmittel"),
        angiography="Carotis-CTA",
        bone="Schädel Knochen",
    ),
    Language(
        without=("CRANE SANS INJ", "Tête sans contraste", "CEREBRAL S/INJ"),
        with_contrast=("CRANE AVEC INJECTION", "TETE INJECTE"),
        angiography="ANGIO TSA",
        bone="CRANE OS",
    ),
    Language(
        without=("CRANEO S/C", "CABEZA SIN CONTRASTE", "CRANEO SIMPLE"),
        with_contrast=("CRANEO C/C", "CABEZA CON CONTRASTE"),
        angiography="ANGIO TAC CRANEO",
        bone="CRANEO HUESO",
    ),
    Language(
        without=("ENCEFALO BASALE", "TESTA S/MDC", "CRANIO SENZA MDC"),
        with_contrast=("ENCEFALO CON MDC", "CRANIO MDC"),
        angiography="ANGIO TC WILLIS",
        bone="CRANIO OSSO",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a study is made of."""

    exam: Exam
    rng: np.random.Generator
    vendor: Vendor
    language: Language

    def pick(self, values: Any) -> Any:
        """One of several at random."""
        return values[int(self.rng.integers(len(values)))]

    def plain(self, step_mm: float = 5.0, **tags: Any) -> OtherSeries:
        """The non-contrast scan by a soft kernel."""
        said = {"SeriesDescription": self.pick(self.language.without), "ConvolutionKernel": self.vendor.soft}
        return other_series.resliced(self.exam, step_mm, **{**self._typed, **said, **tags})

    def bone(self, step_mm: float = 5.0, **tags: Any) -> OtherSeries:
        """The same by a bone kernel."""
        said = {"SeriesDescription": self.language.bone, "ConvolutionKernel": self.vendor.bone}
        return other_series.resliced(self.exam, step_mm, **{**self._typed, **said, **tags})

    def bright(self, step_mm: float = 5.0, **tags: Any) -> OtherSeries:
        """A scan with contrast, which nothing but `tags` says."""
        lit = other_series.contrast(self.exam, self.rng, tagged=False).pixels
        said = {"SeriesDescription": "HEAD 5.0", "ConvolutionKernel": self.vendor.soft}
        exam = replace(self.exam, hu=lit)
        return other_series.resliced(exam, step_mm, **{**self._typed, **said, **tags})

    @property
    def _typed(self) -> dict[str, Any]:
        return {
            "Manufacturer": self.vendor.manufacturer,
            "ImageType": ["ORIGINAL", "PRIMARY", *self.vendor.image_type],
            "StudyDescription": "CT",
        }


@dataclass(frozen=True, kw_only=True)
class Made:
    """A study: its series, each with what it is, NON_CONTRAST for the right one; whether a remark on it is due.

    amend: what becomes of the bytes of each of its files.
    """

    series: tuple[tuple[str, OtherSeries], ...]
    needs_remark: bool = False
    amend: Callable[[bytes], bytes] | None = None


def _ordinary(scene: Scene) -> Made:
    others = [
        ("bone", scene.bone()),
        ("thin", scene.plain(1.25)),
        ("localizer", other_series.localizer(scene.exam)),
    ]
    others.append(("contrast", scene.bright(SeriesDescription=scene.pick(scene.language.with_contrast))))
    return Made(series=(*others, (NON_CONTRAST, scene.plain())))


_CONTRAST_TAGS: tuple[dict[str, Any], ...] = (
    {"ContrastBolusVolume": "70", "ContrastBolusRoute": "IV"}, {"ContrastBolusStartTime": "101500"},
    {"ContrastBolusTotalDose": "70"}, {"ContrastBolusIngredient": "IODINE"}, {"ContrastFlowRate": "4"},
    {"ContrastBolusIngredientConcentration": "350"}, {"ContrastBolusAgent": "Iomeron 400"},
)  # fmt: skip


def _contrast_by_tags(scene: Scene) -> Made:
    bright = scene.bright(SeriesDescription="HEAD 5.0 FC21", **scene.pick(_CONTRAST_TAGS))
    return Made(series=((NON_CONTRAST, scene.plain(3.0)), ("contrast", bright)))


def _angiography(scene: Scene) -> Made:
    bright = scene.bright(SeriesDescription=scene.language.angiography)
    return Made(series=((NON_CONTRAST, scene.plain(3.0)), ("contrast", bright)))


_MAPS: tuple[dict[str, Any], ...] = (
    {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "IODINE"], "SeriesDescription": "DE_Head"},
    {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VNC"], "SeriesDescription": "DE_Head"},
    {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "RHO_Z"], "SeriesDescription": "Head"},
    {"ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"], "SeriesDescription": "Head"},
    {"SeriesDescription": "Head Mono 70 keV"}, {"SeriesDescription": "Water(Iodine) Head"},
    {"SeriesDescription": "Head Virtual Non Contrast"}, {"SeriesDescription": "HEAD MIP 5"},
    {"SeriesDescription": "Head Zeff"},
)  # fmt: skip


def _map(scene: Scene) -> Made:
    found = scene.plain(5.0, **scene.pick(_MAPS))
    return Made(series=((NON_CONTRAST, scene.plain(3.0)), ("map", found)))


def _cut(scene: Scene) -> Made:
    """A third is missing at an end; the numbers of the images show it, or the promised count, or the pixels alone."""
    whole = scene.plain()
    count = len(whole.pixels)
    kept = slice(0, count - count // 3) if scene.rng.random() < 0.5 else slice(count // 3, count)
    part = _part(whole, kept)
    how = scene.rng.integers(3)
    if how == 0 and kept.start == 0:  # images are numbered from the head
        numbers = [count - k for k in range(count)][kept]
        part = replace(part, own=tuple({"InstanceNumber": number} for number in numbers))
    elif how == 1:
        part = replace(part, tags={**part.tags, "ImagesInAcquisition": count})
    return Made(series=((NON_CONTRAST, part),), needs_remark=True)


def _two_passes(scene: Scene) -> Made:
    once = scene.plain()
    again = _moved(once, 2.0)
    count = len(once.pixels)
    if scene.rng.random() < 0.5:
        own = [{"AcquisitionNumber": 1}] * count + [{"AcquisitionNumber": 2}] * count
    else:
        own = [{"InstanceNumber": k + 1} for k in range(2 * count)]
    return Made(series=((NON_CONTRAST, _joined(once, again, own)),), needs_remark=True)


def _repeated_slices(scene: Scene) -> Made:
    once = scene.plain()
    again = _part(once, slice(12, 17))
    own = [{"AcquisitionNumber": 1}] * len(once.pixels) + [{"AcquisitionNumber": 2}] * len(again.pixels)
    return Made(series=((NON_CONTRAST, _joined(once, again, own)),), needs_remark=True)


def _two_increments(scene: Scene) -> Made:
    fine, coarse = scene.plain(2.5), scene.plain(7.5)
    low = fine.positions[0][2]
    below = sum(position[2] - low < 50 for position in fine.positions)
    above = next(k for k, position in enumerate(coarse.positions) if position[2] - low >= 50)
    mixed = _joined(_part(fine, slice(0, below)), _part(coarse, slice(above, None)), [])
    return Made(series=((NON_CONTRAST, mixed), ("bone", scene.bone())))


_PLACEHOLDERS = (
    "N/A",
    "WITHOUT",
    "NON CONTRAST",
    "UNKNOWN",
    "NONE",
    "ohne KM",
    "no contrast",
    "--",
    "Sin contraste",
)


def _placeholder_agent(scene: Scene) -> Made:
    tags = {"ContrastBolusAgent": scene.pick(_PLACEHOLDERS)}
    return Made(series=((NON_CONTRAST, scene.plain(**tags)), ("bone", scene.bone(**tags))))


_FREE_TEXTS = ("ROUTINE 5MM", "PROTOCOL 7", "DEFAULT", "ADULT", "SEQ", "TRAUMA ROOM")


def _free_body_part(scene: Scene) -> Made:
    tags = {
        "BodyPartExamined": scene.pick(_FREE_TEXTS),
        "SeriesDescription": scene.pick(("5.0 STND", "SEQ 5", "AX")),
    }
    chest = other_series.chest(scene.rng, tagged=False)
    chest = replace(chest, tags={**chest.tags, **tags})
    return Made(series=((NON_CONTRAST, scene.plain(**tags)), ("chest", chest)))


def _two_patient_ids(scene: Scene) -> Made:
    plain = scene.plain()
    own = tuple({"PatientID": scene_id} for scene_id in ("12345", "0012345") * len(plain.pixels))
    return Made(series=((NON_CONTRAST, replace(plain, own=own[: len(plain.pixels)])),), needs_remark=True)


def _slice_location(scene: Scene) -> Made:
    plain = scene.plain()
    fixed = None if scene.rng.random() < 0.5 else ["0", "0", "0"]
    own = tuple(
        {"ImagePositionPatient": fixed, "SliceLocation": f"{position[2]:.6g}"} for position in plain.positions
    )
    return Made(series=((NON_CONTRAST, replace(plain, own=own)),), needs_remark=True)


def _contrast_alone(scene: Scene) -> Made:
    bright = scene.bright(SeriesDescription=scene.pick(scene.language.with_contrast))
    return Made(series=(("contrast", bright),))


_OTHER_WORDS: tuple[dict[str, Any], ...] = (
    {"RescaleType": "Hounsfield"},
    {"RescaleType": "Hounsfield Units"},
    {"Modality": None},
    {"RescaleType": "US", "Modality": ""},
)


def _other_words(scene: Scene) -> Made:
    tags = scene.pick(_OTHER_WORDS)
    return Made(series=((NON_CONTRAST, scene.plain(**tags)), ("bone", scene.bone(**tags))))


def _other_units(scene: Scene) -> Made:
    """A scan in other units beside the one in HU: as good by everything else, and first."""
    other = scene.plain(RescaleType=scene.pick(("MGML", "Z_EFF", "ED", "OD")))
    return Made(series=(("other_units", other), (NON_CONTRAST, scene.plain())), needs_remark=True)


def _without_preamble(scene: Scene) -> Made:
    """Files that begin with the meta header, with the data set itself, or are packed each by itself."""
    ways = (_without_first_bytes, _without_meta, gzip.compress)
    return Made(series=((NON_CONTRAST, scene.plain()), ("bone", scene.bone())), amend=scene.pick(ways))


def _without_first_bytes(data: bytes) -> bytes:
    return data[132:]


def _without_meta(data: bytes) -> bytes:
    """The meta header's first element, 12 bytes after the preamble, holds the length of its rest."""
    return data[144 + int.from_bytes(data[140:144], "little") :]


#: What studies are like, by name; each is a function of a scene.
CASES: dict[str, Callable[[Scene], Made]] = {
    "ordinary": _ordinary,
    "contrast_by_tags": _contrast_by_tags,
    "angiography": _angiography,
    "map": _map,
    "cut": _cut,
    "two_passes": _two_passes,
    "repeated_slices": _repeated_slices,
    "two_increments": _two_increments,
    "placeholder_agent": _placeholder_agent,
    "free_body_part": _free_body_part,
    "two_patient_ids": _two_patient_ids,
    "slice_location": _slice_location,
    "contrast_alone": _contrast_alone,
    "other_words": _other_words,
    "other_units": _other_units,
    "without_preamble": _without_preamble,
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """A study that was written. right: UID of the series to choose; '' where none is. needs_remark: as in Made."""

    study_uid: str
    case: str
    right: str
    needs_remark: bool


def write_exports(
    folder: Path, *, studies: int, seed: int = 0, rows: int = 128, cases: tuple[str, ...] = tuple(CASES)
) -> list[Export]:
    """Write so many studies below `folder`, of the cases in turn, vendors and languages at random.

    Raises OptionError for less than one study, or a case that there is not.
    """
    if studies < 1 or not set(cases) <= set(CASES):
        raise OptionError(
            f"studies is {studies} and cases {cases}, expected 1 or more, and cases of {tuple(CASES)}"
        )
    options = ExamOptions(seed=seed, rows=rows, exam_rate=0.35)
    found = []
    for number in tqdm(range(studies), desc="hospital studies", unit="study", disable=None):
        rng = np.random.default_rng((seed, number, 25))
        scene = Scene(
            exam=make_exam(options, number // 7 * 8 + number % 7),
            rng=rng,
            vendor=VENDORS[int(rng.integers(len(VENDORS)))],
            language=LANGUAGES[int(rng.integers(len(LANGUAGES)))],
        )
        name = cases[number % len(cases)]
        made = CASES[name](scene)
        written = []
        for place, (kind, series) in enumerate(made.series, start=1):
            paths, one = write_series(folder, seed, number, place, kind, series)
            written.append(one)
            if made.amend is not None:
                for path in paths:
                    write_whole(path, made.amend(path.read_bytes()))
        found.append(
            Export(
                study_uid=written[0].study_uid,
                case=name,
                right=next((one.series_uid for one in written if one.kind == NON_CONTRAST), ""),
                needs_remark=made.needs_remark,
            )
        )
    return found


def _part(series: OtherSeries, kept: slice) -> OtherSeries:
    return replace(series, pixels=series.pixels[kept], positions=series.positions[kept])


def _moved(series: OtherSeries, up_mm: float) -> OtherSeries:
    return replace(series, positions=tuple((x, y, z + up_mm) for x, y, z in series.positions))


def _joined(first: OtherSeries, second: OtherSeries, own: list[dict[str, Any]]) -> OtherSeries:
    return replace(
        first,
        pixels=np.concatenate([first.pixels, second.pixels]),
        positions=(*first.positions, *second.positions),
        own=tuple(own),
    )
