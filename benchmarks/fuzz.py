"""Broken DICOM files at the entrance of the server: no crash, no hang, always an answer or one clean line.

    python -m benchmarks.fuzz --files 100000
    python -m benchmarks.fuzz --what headers --files 100000

Files of 128 x 128 in every transfer syntax that is read are mutated: bytes flipped, set, dropped, doubled, cut, swapped
between files, lengths in the header set to extremes. Half also get up to a million elements or items, nesting, or
other bytes in the codestream's header. Each goes through what a request goes through, base64, DICOM, resampling,
warnings, in processes that are watched: one that dies, or takes more than 2 s over a file, is counted with the file,
which is kept in --keep. Prints what became of them, the slowest and the most memory of a process. With `--what headers`
whole studies with so many changed headers go through predict's survey and choice (benchmarks/fuzz_headers.py).
"""

import argparse
import base64
import os
import resource
import signal
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)  # fmt: skip
from tqdm import tqdm

from benchmarks.fuzz_headers import fuzz_headers
from ich_mlflow.serving.rows import Fault, Row, read_rows

PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
#: The server answers or refuses within this.
LIMIT_S = 2.0
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF)
_CHUNK = 250


def corpus(size: int = 128, *, jpeg_lossless: bool = True) -> list[bytes]:
    """Sound CT files, one a transfer syntax."""
    files = [_file(syntax, size) for syntax in (*PLAIN, *COMPRESSED)]
    return [*files, _jpeg_lossless(files[0])] if jpeg_lossless else files


def mutated(files: list[bytes], rng: np.random.Generator) -> bytes:
    """One of the files with one to eight changes, half of them in its header."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 9)):
        if len(data) < 16:
            break
        in_header = rng.random() < 0.5 and len(data) > 200
        place = int(rng.integers(128, min(len(data), 1500)) if in_header else rng.integers(len(data)))
        end = place + int(2 ** rng.uniform(0, 8))
        _CHANGES[rng.integers(len(_CHANGES))](data, place, end, files[rng.integers(len(files))], rng)
    return bytes(data)


def _flip(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    data[place] ^= 1 << int(rng.integers(8))


def _random(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    data[place:end] = rng.bytes(len(data[place:end]))


def _drop(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    del data[place:end]


def _double(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    data[place:place] = data[place:end]


def _cut(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    del data[place:]


def _swap(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    data[place:end] = other[place:end]


def _extreme(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    data[place] = _EXTREMES[rng.integers(len(_EXTREMES))]


def _extreme_length(data: bytearray, place: int, end: int, other: bytes, rng: np.random.Generator) -> None:
    data[place : place + 4] = bytes([_EXTREMES[rng.integers(len(_EXTREMES))]] * 4)


def _many_elements(data: bytearray, place: int, rng: np.random.Generator) -> None:
    """Up to a million empty private elements."""
    count = int(10 ** rng.uniform(1, 6))
    data[place:place] = b"".join(
        (0x4001 + 2 * (k >> 16)).to_bytes(2, "little") + (k & 0xFFFF).to_bytes(2, "little") + b"LO\0\0"
        for k in range(count)
    )


def _many_items(data: bytearray, place: int, rng: np.random.Generator) -> None:
    """A sequence of undefined length with up to a million empty items."""
    count = int(10 ** rng.uniform(1, 6))
    data[place:place] = _SEQUENCE + b"\xfe\xff\x00\xe0\0\0\0\0" * count + b"\xfe\xff\xdd\xe0\0\0\0\0"


def _deep_items(data: bytearray, place: int, rng: np.random.Generator) -> None:
    """Sequences within sequences, up to a hundred thousand deep, left open."""
    data[place:place] = (_SEQUENCE + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * int(10 ** rng.uniform(1, 5))


def _codestream(data: bytearray, place: int, rng: np.random.Generator) -> None:
    """One to six bytes of the main header of a codestream, where there is one."""
    start = max(data.find(b"\xff\x4f\xff\x51"), data.find(b"\xff\xd8\xff"))
    if start < 0:
        return
    for _ in range(rng.integers(1, 7)):
        at = start + 2 + int(rng.integers(110))
        if at < len(data):
            data[at] = (
                int(rng.integers(256)) if rng.random() < 0.5 else _EXTREMES[rng.integers(len(_EXTREMES))]
            )


#: ReferencedImageSequence, explicit VR, of undefined length; of a data set in implicit VR it is rubbish.
_SEQUENCE = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
_STRUCTURES = (_many_elements, _many_items, _deep_items, _codestream, _codestream, _codestream)


def restructured(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with a change of its elements' structure, before one of them, or of its codestream's header."""
    found = bytearray(data)
    change = _STRUCTURES[rng.integers(len(_STRUCTURES))]
    places = [found.find(tag, 132) for tag in (b"\x08\x00\x60\x00", b"\x28\x00\x10\x00", b"\xe0\x7f\x10\x00")]
    change(found, max(132, places[rng.integers(3)]), rng)
    return bytes(found)


_CHANGES = (_flip, _random, _drop, _double, _cut, _swap, _extreme, _extreme_length)


def outcome(data: bytes) -> str:
    """What the entrance makes of a file: `read`, or the kind of its refusal. Raises ValueError for an unclean one."""
    (row,) = read_rows(pd.DataFrame({"dicom": [base64.b64encode(data).decode()]}))
    if isinstance(row, Row):
        if row.hu.shape != (256, 256) or row.hu.dtype != np.int16:
            raise ValueError(f"a slice of {row.hu.shape} {row.hu.dtype}")
        return "read"
    assert isinstance(row, Fault)
    if "\n" in row.line or not row.line.startswith("row 0") or len(row.line) > 300 or "Traceback" in row.line:
        raise ValueError(f"an unclean line: {row.line!r}")
    return "refused"


def _file(syntax: str, size: int) -> bytes:
    from ich_mlflow.stages.promote.examination import phantom_dicom

    dataset = pydicom.dcmread(BytesIO(phantom_dicom()))
    pixels = np.ascontiguousarray(dataset.pixel_array[:: 512 // size, :: 512 // size])
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax if syntax in PLAIN else ExplicitVRLittleEndian
    if syntax in COMPRESSED:
        dataset.compress(syntax)
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _jpeg_lossless(data: bytes) -> bytes:
    """gdcm alone writes it; it comes with the extra `dev`."""
    import tempfile

    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = (str(Path(folder) / name) for name in ("plain.dcm", "packed.dcm"))
        Path(plain).write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(plain)
        reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(packed)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        return Path(packed).read_bytes()


def _chunk(seed: int, number: int, keep: str) -> tuple[Counter[str], float, float, list[str]]:
    """Outcomes of so many mutated files, the slowest, the most memory in MB, and what was wrong.

    The file at hand is kept while it is read.
    """
    rng = np.random.default_rng([seed, number])
    files, counts, wrong, slowest = corpus(), Counter[str](), [], 0.0
    at_hand = Path(keep) / f"at-hand-{os.getpid()}.dcm"
    for _ in range(_CHUNK):
        data = mutated(files, rng)
        if number % 2:  # half of them also in what they are made of
            data = restructured(files[rng.integers(len(files))] if rng.random() < 0.5 else data, rng)
        at_hand.write_bytes(data)
        started = time.perf_counter()
        try:
            counts[outcome(data)] += 1
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
            Path(keep, f"wrong-{number}-{len(wrong)}.dcm").write_bytes(data)
        took = time.perf_counter() - started
        slowest = max(slowest, took)
        if took > LIMIT_S:
            counts["slow"] += 1
            Path(keep, f"slow-{number}-{counts['slow']}.dcm").write_bytes(data)
    at_hand.unlink()
    return counts, slowest, _most_memory_mb(), wrong


def _most_memory_mb() -> float:
    """The most that this process, or one that it started and ended, has held; ru_maxrss is in KiB on Linux."""
    return (
        max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        / 1024
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--what", choices=("files", "headers"), default="files")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--keep", default="data/fuzz", help="folder for files that went wrong")
    arguments = parser.parse_args()
    Path(arguments.keep).mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if arguments.what == "headers":
        is_sound = fuzz_headers(
            headers=arguments.files,
            seed=arguments.seed,
            workers=arguments.workers,
            keep=Path(arguments.keep),
        )
        raise SystemExit(0 if is_sound else 1)
    counts, slowest, most_mb, wrong = Counter[str](), 0.0, 0.0, []
    started = time.perf_counter()
    with ProcessPoolExecutor(
        arguments.workers
    ) as pool:  # a worker that dies breaks the pool: an error, with its file kept
        futures = [
            pool.submit(_chunk, arguments.seed, number, arguments.keep)
            for number in range(-(-arguments.files // _CHUNK))
        ]
        for future in tqdm(futures, unit_scale=_CHUNK, unit="file"):
            found, slow, mb, faults = future.result()
            counts += found
            slowest, most_mb = max(slowest, slow), max(most_mb, mb)
            wrong += faults
    took = time.perf_counter() - started
    print(f"\n{sum(counts[name] for name in ('read', 'refused')) + len(wrong)} files in {took:.0f} s")
    print(
        f"read {counts['read']}, refused in one line {counts['refused']}, anything else {len(wrong)}, crashes 0"
    )
    print(
        f"slowest {slowest:.2f} s, over {LIMIT_S:g} s {counts['slow']}; most memory of a process {most_mb:.0f} MB"
    )
    for line in wrong[:10]:
        print(line)
    raise SystemExit(1 if wrong or counts["slow"] else 0)


if __name__ == "__main__":
    main()
