"""Broken headers in studies as hospitals export them: predict's survey and choice end in a choice or in a line.

Run by `python -m benchmarks.fuzz --what headers`. Of a study of phantom/exports.py the headers of some images, of a
series or of all are changed: values, value representations, lengths, elements missing, doubled or put in, too many
values or too few, numbers that are none. What a scanner or an anonymiser gets wrong it gets wrong in all images of a
series, so that half of the changes are the same in all of them.
"""

import random
import re
import shutil
import struct
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from tqdm import tqdm

from ich_mlflow.dicom.image_header import KEYWORDS
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.plan import plan
from ich_mlflow.intake.survey import survey
from ich_mlflow.phantom.exports import CASES, write_exports
from ich_mlflow.prediction import tables

CHOSEN, NOT_CHOSEN, NO_IMAGE = "choice", "no series, and why", "no image, and why"
OUTCOMES = (CHOSEN, NOT_CHOSEN, NO_IMAGE)
#: Elements that the survey, the choice and the glance at pixels go by; the others are changed more rarely.
_READ = (
    *KEYWORDS, "TransferSyntaxUID", "MediaStorageSOPClassUID", "FileMetaInformationGroupLength", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelPaddingValue", "PixelData",
)  # fmt: skip
_SHARE_OF_READ = 0.85
#: Share of studies whose files are without value representations.
_IMPLICIT = 0.15
IMPLICIT = b"1.2.840.10008.1.2\0"
_SYNTAX = 0x00020010
#: A study is sorted out within this, of one core.
LIMIT_S = 2.0
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV", b"OV")
_VRS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OW", b"PN", b"SH",
    b"SL", b"SQ", b"SS", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT", b"XX", b"\0\0", b"  ",
)  # fmt: skip
_NUMBERS = (
    b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"1,5", b"-5,0", b"1e308", b"-1e308", b"1e400", b"1e-320", b"-0",
    b"0", b"1", b"-1", b"0.0", b"1_000", b"0x10", b"1.2.3", b"5 mm", b"+-5", b"1e", b"2147483648", b"-2147483649",
    b"9" * 25, b"9" * 400, "٣".encode(), b"", b" ", b"\0", b"True", b"--", b".", b"1e5", b"99999999", b"0.001",
)  # fmt: skip
_TEXTS = (
    b"", b" ", b"\0\0", b"\\", b"\\\\\\", b"a\\b", b"\xff\xfe\xfd", b"\x1b$B\x1b(B", "Schädel ohne KM".encode("latin-1"),
    "Schädel ohne KM".encode(), b"=cmd|'/C calc'!A0", b"a\nb", b"a\r\nb\t", b"<b>&amp;", b"x" * 3000, b"'\"", b"1.2.3",
    b"LOCALIZER", b"DERIVED\\PRIMARY", b"ORIGINAL", b"CT", b"MR", b"HEAD", b"CHEST", b"KM", b"C+", b"ISO_IR 192",
    b"ISO_IR 999", b"\\ISO 2022 IR 87", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.1.3.10",
    b"1.2.840.10008.5.1.4.1.1.2.1", b"HU", b"OD", b"MONOCHROME1", b"\xe2\x80\xae",
)  # fmt: skip
_LENGTHS = (0, 1, 2, 3, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
#: What no sentence for a person holds.
_UNCLEAN = re.compile(r"\n|\bnan\b|\binf\b|Traceback|\b1 (?:slices|images|gaps|studies)\b")
_MAX_LINE = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """An element as it goes into a file. length: what the file says of it; None: as it is."""

    tag: int
    vr: bytes
    value: bytes
    length: int | None = None


@dataclass(frozen=True, kw_only=True)
class SoundStudy:
    """The files of a study, as they were written; a folder a series."""

    case: str
    paths: tuple[Path, ...]


@dataclass(kw_only=True)
class Chunk:
    """What became of studies: outcomes, changed headers, CPU seconds of the slowest, what was wrong or slow."""

    counts: Counter[str] = field(default_factory=Counter)
    headers: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    def add(self, other: "Chunk") -> None:
        self.counts += other.counts
        self.headers += other.headers
        self.slowest = max(self.slowest, other.slowest)
        self.wrong += other.wrong
        self.slow += other.slow


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return tag


_READ_TAGS = frozenset(map(_tag, _READ))


def fuzzed_studies(
    folder: Path, *, rows: int = 64, seed: int = 0, cases: tuple[str, ...] = tuple(CASES)
) -> list[SoundStudy]:
    """One study of each kind of phantom/exports.py; they are written below `folder` on the way."""
    exports = write_exports(folder, studies=len(cases), rows=rows, seed=seed, cases=cases)
    return [
        SoundStudy(
            case=export.case,
            paths=tuple(sorted(path for path in study.rglob("*") if path.is_file())),
        )
        for export, study in zip(exports, sorted(folder.iterdir()), strict=True)
    ]


def fuzzed(study: SoundStudy, folder: Path, rng: random.Random) -> tuple[list[InputFile], int]:
    """The files of a study, of which some have another header and lie in `folder`; how many those are."""
    places = _SCOPES[rng.randrange(len(_SCOPES))](study, rng)
    seeds = [rng.random() for _ in range(rng.randrange(1, 4))]
    is_same = rng.random() < 0.5
    files = []
    for place, path in enumerate(study.paths):
        if place in places:
            elements = elements_of(path.read_bytes())
            for seed in seeds:
                own = random.Random(seed if is_same else f"{seed} {place}")
                elements = _CHANGES[own.randrange(len(_CHANGES))](elements, own)
            path = folder / f"{place:04d}"
            path.write_bytes(written(elements, implicit=seeds[0] < _IMPLICIT))
        files.append(InputFile(name=f"{place:04d}", path=path, num_bytes=path.stat().st_size))
    return files, len(places)


def outcome_of_headers(files: list[InputFile]) -> str:
    """What predict's survey and choice make of a study, one of OUTCOMES. Raises ValueError for an unclean line."""
    found = survey(files)
    studies = plan(found.studies, look=why_no_head, ends=why_cut)
    if found.num_images + len(found.skipped) != len(files):
        raise ValueError(f"{found.num_images} images and {len(found.skipped)} others of {len(files)} files")
    lines = [one.detail for one in found.skipped]
    for study in studies:
        if not study.rows or sum(row.num_slices for row in study.rows) > len(files):
            raise ValueError(f"a study with rows {study.rows}")
        lines += [row.why for row in study.rows]
        lines += [remark for one in (*study.series, *study.spare) for remark in one.remarks]
    for line in lines:
        if not line or len(line) > _MAX_LINE or _UNCLEAN.search(line):
            raise ValueError(f"an unclean line: {line!r}")
    for table in (tables.series_table(studies), tables.skipped_table(found.skipped)):
        tables.as_csv(table).encode()
    if not studies:
        return NO_IMAGE
    return CHOSEN if any(study.series for study in studies) else NOT_CHOSEN


def elements_of(data: bytes) -> list[Element]:
    """The elements of a sound file in Explicit VR Little Endian without sequences. Source: DICOM PS3.5 7.1."""
    found, at = [], 132
    while at < len(data):
        group, number = struct.unpack_from("<HH", data, at)
        vr = data[at + 4 : at + 6]
        size, start = (
            (struct.unpack_from("<L", data, at + 8)[0], at + 12)
            if vr in _LONG_VRS
            else (struct.unpack_from("<H", data, at + 6)[0], at + 8)
        )
        found.append(Element(tag=group << 16 | number, vr=vr, value=data[start : start + size]))
        at = start + size
    return found


def written(elements: list[Element], *, implicit: bool = False) -> bytes:
    """A file of these elements, right or wrong; implicit: without the value representations, and it says so."""
    parts = [b"\0" * 128, b"DICM"]
    for one in elements:
        value = IMPLICIT if implicit and one.tag == _SYNTAX else one.value
        size = len(value) if one.length is None else one.length
        parts.append(struct.pack("<HH", one.tag >> 16, one.tag & 0xFFFF))
        if implicit and one.tag >> 16 != 2:
            parts.append(struct.pack("<L", size & 0xFFFFFFFF))
        elif one.vr in _LONG_VRS:
            parts += [one.vr, b"\0\0", struct.pack("<L", size & 0xFFFFFFFF)]
        else:
            parts += [one.vr, struct.pack("<H", size & 0xFFFF)]
        parts.append(value)
    return b"".join(parts)


def _pick(elements: list[Element], rng: random.Random) -> int:
    """The place of an element to change."""
    read = [place for place, one in enumerate(elements) if one.tag in _READ_TAGS]
    if not elements:
        return 0
    return rng.choice(read) if read and rng.random() < _SHARE_OF_READ else rng.randrange(len(elements))


def _nonsense(vr: bytes, rng: random.Random) -> bytes:
    """A value that may fit the representation, or none at all."""
    if vr in (b"US", b"SS", b"OW", b"OB", b"UL") and rng.random() < 0.8:
        return rng.choice((b"\0\0", b"\1\0", b"\xff\xff", b"\0\x80", b"\1", b"\1\0\2\0", rng.randbytes(4)))
    is_number = vr in (b"DS", b"IS") if rng.random() < 0.8 else rng.random() < 0.5
    value = (
        rng.choice(_NUMBERS if is_number else _TEXTS)
        if rng.random() < 0.95
        else rng.randbytes(rng.randrange(64))
    )
    return value + b" " if len(value) % 2 and rng.random() < 0.9 else value


def _changed(elements: list[Element], place: int, **values: Any) -> list[Element]:
    return [*elements[:place], replace(elements[place], **values), *elements[place + 1 :]] if elements else []


def _value(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    return _changed(elements, place, value=_nonsense(elements[place].vr, rng)) if elements else []


def _one_of_several(elements: list[Element], rng: random.Random) -> list[Element]:
    """One of the numbers of a value, as a coordinate of a position."""
    several = [place for place, one in enumerate(elements) if b"\\" in one.value and one.vr in (b"DS", b"CS")]
    if not several:
        return elements
    place = rng.choice(several)
    parts = elements[place].value.split(b"\\")
    parts[rng.randrange(len(parts))] = _nonsense(b"DS", rng).strip()
    return _changed(elements, place, value=b"\\".join(parts))


def _scaled(elements: list[Element], rng: random.Random) -> list[Element]:
    """The numbers of a value, so many times as large."""
    numeric = [place for place, one in enumerate(elements) if one.vr in (b"DS", b"IS") and one.value.strip()]
    if not numeric:
        return elements
    place = rng.choice(numeric)
    factor = rng.choice((-1.0, 0.0, 10.0, 0.1, 1e-9, 1e9, 1e300, 1.0001))
    try:
        numbers = [float(part) * factor for part in elements[place].value.split(b"\\")]
    except ValueError:
        return elements
    return _changed(elements, place, value=b"\\".join(b"%.6g" % one for one in numbers))


def _representation(elements: list[Element], rng: random.Random) -> list[Element]:
    return _changed(elements, _pick(elements, rng), vr=rng.choice(_VRS))


def _length(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    if not elements:
        return []
    near = len(elements[place].value) + rng.choice((-8, -2, -1, 1, 2, 8, 100))
    return _changed(elements, place, length=max(0, near) if rng.random() < 0.5 else rng.choice(_LENGTHS))


def _missing(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    return [*elements[:place], *elements[place + 1 :]]


def _emptied(elements: list[Element], rng: random.Random) -> list[Element]:
    return _changed(elements, _pick(elements, rng), value=b"")


def _doubled(elements: list[Element], rng: random.Random) -> list[Element]:
    """Twice, side by side or the second at the end, alike or with another value."""
    if not elements:
        return []
    place = _pick(elements, rng)
    again = elements[place]
    if rng.random() < 0.7:
        again = replace(again, value=_nonsense(again.vr, rng))
    at = place + 1 if rng.random() < 0.7 else len(elements)
    return [*elements[:at], again, *elements[at:]]


def _multiplicity(elements: list[Element], rng: random.Random) -> list[Element]:
    """Too many values, or too few."""
    if not elements:
        return []
    place = _pick(elements, rng)
    parts = elements[place].value.rstrip(b" \0").split(b"\\")
    parts = parts * rng.choice((2, 3, 7, 500)) if rng.random() < 0.5 else parts[: rng.randrange(len(parts))]
    value = b"\\".join(parts)
    return _changed(elements, place, value=value + b" " * (len(value) % 2))


def _put_in(elements: list[Element], rng: random.Random) -> list[Element]:
    """An element that is read and was not there, or was."""
    keyword = rng.choice(_READ)
    tag, vr = _tag(keyword), dictionary_VR(keyword)[:2].encode()
    element = Element(tag=tag, vr=vr, value=_nonsense(vr, rng))
    at = sum(one.tag < tag for one in elements)
    return [*elements[:at], element, *elements[at:]]


def _swapped(elements: list[Element], rng: random.Random) -> list[Element]:
    """The value of another element."""
    other = elements[_pick(elements, rng)].value[:4096] if elements else b""
    return _changed(elements, _pick(elements, rng), value=other)


def _moved(elements: list[Element], rng: random.Random) -> list[Element]:
    place, to = (_pick(elements, rng) for _ in range(2))
    rest = [*elements[:place], *elements[place + 1 :]]
    return [*rest[:to], *elements[place : place + 1], *rest[to:]]


def _flipped(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    if not elements or not elements[place].value:
        return elements
    value = bytearray(elements[place].value)
    for _ in range(rng.randrange(1, 4)):
        value[rng.randrange(min(len(value), 4096))] = rng.randrange(256)
    return _changed(elements, place, value=bytes(value))


_CHANGES = (
    _value, _value, _value, _one_of_several, _scaled, _representation, _length, _missing, _emptied, _doubled,
    _multiplicity, _put_in, _put_in, _swapped, _moved, _flipped,
)  # fmt: skip


def _one_image(study: SoundStudy, rng: random.Random) -> set[int]:
    return {rng.randrange(len(study.paths))}


def _some_images(study: SoundStudy, rng: random.Random) -> set[int]:
    share = rng.random()
    return {place for place in range(len(study.paths)) if rng.random() < share} or _one_image(study, rng)


def _one_series(study: SoundStudy, rng: random.Random) -> set[int]:
    folder = rng.choice(study.paths).parent
    return {place for place, path in enumerate(study.paths) if path.parent == folder}


def _all_images(study: SoundStudy, rng: random.Random) -> set[int]:
    return set(range(len(study.paths)))


_SCOPES = (_one_image, _some_images, _one_series, _one_series, _all_images)


def header_chunk(seed: int, number: int, studies: list[SoundStudy], keep: Path) -> Chunk:
    """Of each study once: outcomes, the number of changed headers, the slowest in CPU seconds, what was wrong."""
    rng = random.Random(f"{seed} {number}")
    found = Chunk()
    with tempfile.TemporaryDirectory() as name:
        for place, study in enumerate(studies):
            files, headers = fuzzed(study, Path(name), rng)
            found.headers += headers
            started = time.process_time()
            try:
                found.counts[outcome_of_headers(files)] += 1
            except Exception as error:
                found.wrong.append(f"{study.case}, {number} {place}: {type(error).__name__}: {error}")
                _keep(keep / f"wrong-{number}-{place}", files)
            took = time.process_time() - started
            found.slowest = max(found.slowest, took)
            if took > LIMIT_S:
                found.slow.append(f"{study.case}, {number} {place}: {took:.1f} s")
                _keep(keep / f"slow-{number}-{place}", files)
    return found


def _keep(folder: Path, files: list[InputFile]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file.path, folder / file.name)


def fuzz_headers(*, headers: int, seed: int, workers: int, keep: Path) -> bool:
    """Change so many headers and print what became of their studies; whether all went well."""
    found = Chunk()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        studies = fuzzed_studies(Path(name) / "studies", seed=seed)
        with ProcessPoolExecutor(workers) as pool, tqdm(total=headers, unit="header", disable=None) as bar:
            number = 0
            while found.headers < headers:
                batch = [
                    pool.submit(header_chunk, seed, number + k, studies, keep) for k in range(workers * 4)
                ]
                number += len(batch)
                for future in batch:
                    before = found.headers
                    found.add(future.result())
                    bar.update(found.headers - before)
    took = time.perf_counter() - started
    total = sum(found.counts.values()) + len(found.wrong)
    print(f"\n{found.headers:,} changed headers in {total:,} studies in {took:.0f} s")
    said = ", ".join(f"{name} {found.counts[name]:,}" for name in OUTCOMES)
    print(f"{said}, anything else {len(found.wrong)}, crashes 0")
    print(f"slowest {found.slowest:.2f} s of one core, over {LIMIT_S:g} s {len(found.slow)}")
    for line in [*found.wrong[:20], *found.slow[:10]]:
        print(line)
    return not found.wrong and not found.slow
