"""What RSNA's files are like, and what is wrong with some, written into a phantom cohort on purpose.

Kinds are ways a whole exam is written; every one must be read right. Faults are planted in single slices or in
their rows of the table; every one must be found. Source: RSNA 2019's training files, and what hospitals send.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ich_mlflow.dicom.damage import FILE_FAULTS
from ich_mlflow.dicom.write import SYNTAXES, Encoding, hu_range
from ich_mlflow.phantom.scanner import PADDING_HU

#: Tells where the planted faults are: file, reason, tag.
PLANTED_FILE = "planted.csv"
#: RSNA's file that is noise below row 332; the fault takes its name.
DAMAGED_UID = "ID_b79eed528"
_NOISE_FROM = 332 / 512


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to write an exam. shape: of RSNA's odd sizes, at 512; repeated_z: two slices at one position."""

    name: str
    encoding: Encoding = field(default_factory=Encoding)
    shape: tuple[int, int] = (512, 512)
    repeated_z: bool = False


def _wrapped(intercept: int) -> Encoding:
    return Encoding(bits_stored=12, signed=False, intercept=intercept, wrapped=True)


_12_BIT = Encoding(bits_stored=12, signed=False)
KINDS: tuple[Kind, ...] = (
    Kind(name="16 bits signed, intercept -1024"),
    Kind(name="12 bits unsigned, intercept -1024", encoding=_12_BIT),
    Kind(name="12 bits unsigned, intercept -1000", encoding=replace(_12_BIT, intercept=-1000)),
    Kind(name="16 bits signed, intercept 0", encoding=Encoding(intercept=0)),
    Kind(name="12 bits signed, intercept 0", encoding=Encoding(bits_stored=12, intercept=0)),
    Kind(name="wrapped, intercept 0", encoding=_wrapped(0)),
    Kind(name="wrapped, intercept 1", encoding=_wrapped(1)),
    Kind(name="padding of -2000 stored", encoding=Encoding(padding=-2000)),
    Kind(name="unsigned padding of 63536", encoding=Encoding(signed=False, padding=63536)),
    Kind(name="several windows", encoding=Encoding(windows=True)),
    Kind(name="repeated z", repeated_z=True),
    *(
        Kind(name=f"{rows}x{columns}", shape=(rows, columns))
        for rows, columns in (
            (638, 490), (436, 436), (408, 374), (464, 464), (462, 462), (430, 404), (666, 512), (768, 768),
        )
    ),
    *(Kind(name=f"{syntax}, signed", encoding=Encoding(syntax=syntax)) for syntax in SYNTAXES[1:]),
    *(Kind(name=f"{syntax}, 12 bits", encoding=replace(_12_BIT, syntax=syntax)) for syntax in SYNTAXES[1:]),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A fault: the file as the quarantine list will name it, the reason and tag it must give."""

    file: str
    reason: str
    tag: str


def kind_of(number: int) -> Kind:
    """The kind of an exam: each in turn, in both VR encodings."""
    kind = KINDS[number % len(KINDS)]
    if kind.encoding.syntax == "explicit" and number // len(KINDS) % 2:
        return replace(kind, encoding=replace(kind.encoding, syntax="implicit"))
    return kind


def as_written(hu: np.ndarray, kind: Kind) -> np.ndarray:
    """HU int16 [n, rows, rows] of an exam as they go into the files: cut, or framed with padding, to the shape.

    The shape is scaled with the exam's rows.
    """
    return _cut_or_framed(hu, kind, frame=PADDING_HU)


def lesions_as_written(blood: np.ndarray, kind: Kind) -> np.ndarray:
    """Masks bool [5, rows, rows] of a slice, aligned with what as_written makes of its pixels."""
    return _cut_or_framed(blood, kind, frame=False)


def _cut_or_framed(images: np.ndarray, kind: Kind, *, frame: int) -> np.ndarray:
    rows = images.shape[1]
    shape = tuple(round(side * rows / 512) for side in kind.shape)
    out = np.full((len(images), *shape), frame, dtype=images.dtype)
    source, target = zip(*(_centred(rows, side) for side in shape), strict=True)
    out[:, target[0], target[1]] = images[:, source[0], source[1]]
    return out


def as_read(written: np.ndarray, kind: Kind) -> np.ndarray:
    """HU that a right reader gives for what as_written gave."""
    lowest, highest = hu_range(kind.encoding)
    hu = np.clip(written, max(lowest, -1024), min(highest, 32767))
    if kind.encoding.padding is not None:
        hu[written < -1024] = -1024
    return hu


def faults_of(number: int, num_exams: int, num_slices: int) -> dict[int, str]:
    """Which faults exam `number` of the cohort gets: slice index -> fault. One of each in a cohort.

    Slices from the middle of the stack: the first and last may be air. Raises ValueError where the exam has
    too few slices for its share.
    """
    mine = [fault for place, fault in enumerate(FAULTS) if place % num_exams == number]
    if len(mine) > num_slices - 6:
        raise ValueError(f"{len(mine)} faults for {num_slices} slices: make more exams")
    return {3 + place: fault for place, fault in enumerate(mine)}


def noise_below(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """HU [H, W] with noise in place of the image from row 332 (of 512) down."""
    noisy = hu.copy()
    start = round(_NOISE_FROM * len(hu))
    noisy[start:] = rng.integers(-1024, 3000, noisy[start:].shape)
    return noisy


def _contradict(rows: Sequence[str]) -> list[str]:
    flipped = rows[0][:-1] + ("0" if rows[0].endswith("1") else "1")
    return [*rows, flipped]


def _wrong_any(rows: Sequence[str]) -> list[str]:
    return [*rows[:-1], rows[-1][:-1] + ("0" if rows[-1].endswith("1") else "1")]


#: Of the table: what becomes of a slice's rows. The reason is the fault's name; repeats are no fault.
ROW_FAULTS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "contradicting_rows": _contradict,
    "missing_rows": lambda rows: list(rows[1:]),
    "any_contradicts": _wrong_any,
    "no_label": lambda rows: [],
    "repeated_rows": lambda rows: [*rows, *rows],
}
#: Of both: the file is removed, or bears the name of RSNA's damaged one.
_OTHER_FAULTS = ("no_file", "known_damage")
FAULTS = (*FILE_FAULTS, *ROW_FAULTS, *_OTHER_FAULTS)


def plant(fault: str, path: Path, rows: Sequence[str], folder_name: str) -> tuple[list[str], Planted | None]:
    """Plant a fault in a written file or its rows; the rows as they go into the table, and what was planted."""
    file = f"{folder_name}/{path.name}"
    if fault in FILE_FAULTS:
        FILE_FAULTS[fault].damage(path)
        return list(rows), Planted(file=file, reason=FILE_FAULTS[fault].reason, tag=FILE_FAULTS[fault].tag)
    if fault in ROW_FAULTS:
        planted = Planted(file=file, reason=fault, tag="") if fault != "repeated_rows" else None
        return ROW_FAULTS[fault](rows), planted
    if fault == "no_file":
        path.unlink()
        return list(rows), Planted(file=path.stem, reason=fault, tag="")
    return list(rows), Planted(file=file, reason=fault, tag="PixelData")


def _centred(source: int, target: int) -> tuple[slice, slice]:
    """Where the middle of `source` pixels lies in itself and in `target` pixels."""
    size = min(source, target)
    from_, to = (source - size) // 2, (target - size) // 2
    return slice(from_, from_ + size), slice(to, to + size)
