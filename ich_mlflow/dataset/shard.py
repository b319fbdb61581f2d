"""One shard of a stored set: read its files, resample, write pixels and journal.

It knows nothing of the engine that calls it: the same function runs in this process, in spawned processes
and on Spark. It imports little, since each process pays for it.

    <folder>/hu-00000.npy            the pixels, one slice after the other
    <folder>/journal/00000.parquet   one row a file of the shard; its presence says that the shard is whole
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ich_mlflow.ct.blood import blood_to_stored_size
from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.dataset.blood import pack
from ich_mlflow.dataset.codec import Codec, codec_named
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.sources.base import LabelledFile, Quarantined, Source
from ich_mlflow.system.whole import write_whole

JOURNAL = "journal"
#: NumPy pads the header to this for any number of slices that a shard can hold.
_NPY_HEADER_BYTES = 128
_FINGERPRINT = b"ich_mlflow.fingerprint"
#: reason: '' of a usable file. digest: SHA-256 of the pixels as stored. offset, num_bytes: in the shard file. blood:
#: packed by dataset.blood, null where it is not known.
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("sop_uid", "file", "reason", "tag", "detail")),
        *((name, pa.string()) for name in ("patient_id", "study_uid", "series_uid")),
        *((name, pa.float64()) for name in ("position_mm", "row_spacing_mm", "column_spacing_mm")),
        *((name, pa.uint8()) for name in SUBTYPES),
        *((name, pa.int32()) for name in ("row", "num_bytes")),
        ("offset", pa.int64()),
        ("digest", pa.binary()),
        ("blood", pa.binary()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """The files of one shard, in order. fingerprint: SHA-256 over their names, sizes, times and labels."""

    number: int
    files: Sequence[LabelledFile]
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """What every shard of a set has in common. Called with a task it writes the shard; picklable.

    folder: of the unfinished set, the same path for every process that works on it. storage: raw or zstd.
    """

    source: Source
    folder: str
    storage: str

    def __call__(self, task: ShardTask) -> int:
        """Write the shard and its journal, and return its number. A file that can't be used is journalled.

        Raises DataError where the folder can't be written.
        """
        try:
            write_shard(task, self)
        except OSError as error:
            raise DataError(
                f"{self.folder} can't be written ({error.strerror or error}): check its disk and permissions; "
                "the same command goes on from here"
            ) from None
        return task.number


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A usable slice's row of the journal, but for where its pixels went; `data` are those."""

    data: bytes
    digest: bytes
    blood: bytes | None
    ct_slice: Slice


def write_shard(task: ShardTask, work: ShardWork) -> None:
    """Write one shard. The journal comes last, and each file appears whole or not at all."""
    folder, codec = Path(work.folder), codec_named(work.storage)
    rows: dict[str, list[object]] = {name: [] for name in _SCHEMA.names}

    def write_pixels(file: BinaryIO) -> None:
        offset, count = _write_header(file, codec, len(task.files)), 0
        for labelled in task.files:
            read = read_one(work.source, labelled, codec)
            if isinstance(read, _Row):
                file.write(read.data)
                _append(rows, labelled, read, row=count, offset=offset)
                offset, count = offset + len(read.data), count + 1
            else:
                _append_quarantined(rows, labelled, read)

    path = shard_path(folder, task.number, codec)
    write_whole(path, write_pixels)
    num_usable = rows["reason"].count("")
    if num_usable < len(task.files):
        _correct_header(path, codec, num_usable)
    schema = _SCHEMA.with_metadata({_FINGERPRINT: task.fingerprint.encode()})
    table = pa.table(rows, schema=schema)
    (folder / JOURNAL).mkdir(exist_ok=True)
    write_whole(journal_path(folder, task.number), lambda file: pq.write_table(table, file))


def read_one(source: Source, file: LabelledFile, codec: Codec) -> "_Row | Quarantined":
    """Read, resample and encode one slice, or say why it can't be used."""
    try:
        ct_slice = source.read(file)
        if _is_blank(ct_slice.hu):
            raise SliceError(
                f"{file.path} is blank (every pixel is {ct_slice.hu[0, 0]} HU): leave it out",
                reason="constant",
                tag="PixelData",
            )
        hu = to_stored_size(ct_slice.hu)
        blood = _blood(ct_slice, file)
    except SliceError as error:
        return Quarantined(file=file.path, reason=error.reason, tag=error.tag, detail=str(error))
    except MemoryError:
        raise  # of this machine, not of this file
    except Exception as error:  # A library's failure on one file must not end a run of hours.
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return Quarantined(file=file.path, reason="unexpected", tag="", detail=f"{file.path}: {said}")
    digest = hashlib.sha256(np.ascontiguousarray(hu, dtype="<i2").data).digest()
    return _Row(data=codec.encode(hu), digest=digest, blood=blood, ct_slice=ct_slice)


def _blood(ct_slice: Slice, file: LabelledFile) -> bytes | None:
    if ct_slice.blood is None:
        return None
    if ct_slice.blood.shape != ct_slice.hu.shape:
        raise SliceError(
            f"{file.path} is {ct_slice.hu.shape} and the mask of its blood {ct_slice.blood.shape}, expected the same "
            "size: copy both again",
            reason="unequal_images",
        )
    return pack(blood_to_stored_size(ct_slice.blood))


def _is_blank(hu: np.ndarray) -> bool:
    """Whether every pixel has the same value. Few pixels decide it for nearly every slice."""
    return bool((hu[::32, ::32] == hu[0, 0]).all() and (hu == hu[0, 0]).all())


def shard_path(folder: Path, number: int, codec: Codec) -> Path:
    """The file of a shard's pixels."""
    return folder / f"hu-{number:05d}{codec.suffix}"


def journal_path(folder: Path, number: int) -> Path:
    """The file of a shard's journal."""
    return folder / JOURNAL / f"{number:05d}.parquet"


def read_journal(folder: Path, task: ShardTask, codec: Codec) -> pa.Table | None:
    """The journal of a shard that is whole and was made from the same files; None otherwise."""
    path = journal_path(folder, task.number)
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        return None
    if (table.schema.metadata or {}).get(_FINGERPRINT) != task.fingerprint.encode():
        return None
    if table.column_names != _SCHEMA.names:  # of a version before
        return None
    pixels = shard_path(folder, task.number, codec)
    usable = table.filter(pc.equal(table["reason"], ""))
    end = usable["offset"][-1].as_py() + usable["num_bytes"][-1].as_py() if len(usable) else 0
    return table if pixels.is_file() and pixels.stat().st_size >= end else None


def can_be_used_now(journal: pa.Table, task: ShardTask, work: ShardWork) -> bool:
    """Whether a file that the journal says can't be used can: mended, a share back, a decoder installed."""
    bad = {row["file"] for row in journal.select(["file", "reason"]).to_pylist() if row["reason"]}
    codec = codec_named(work.storage)
    files = (file for file in task.files if file.path in bad)
    return any(isinstance(read_one(work.source, file, codec), _Row) for file in files)


def quarantined(journal: pa.Table) -> list[Quarantined]:
    """The files of a journal that can't be used."""
    rows = journal.select(["file", "reason", "tag", "detail"]).to_pylist()
    return [Quarantined(**row) for row in rows if row["reason"]]


def _append(rows: dict[str, list[object]], file: LabelledFile, read: _Row, *, row: int, offset: int) -> None:
    ct_slice = read.ct_slice
    # A slice is padded to a square before it is resampled, so both directions shrink by the longer side.
    shrink = max(ct_slice.hu.shape) / STORED_SIZE
    row_mm, column_mm = ct_slice.pixel_spacing_mm or (np.nan, np.nan)
    values = {
        "sop_uid": file.sop_uid, "file": file.path, "reason": "", "tag": "", "detail": "",
        "patient_id": ct_slice.patient_id, "study_uid": ct_slice.study_uid, "series_uid": ct_slice.series_uid,
        "position_mm": ct_slice.position_mm, "row_spacing_mm": row_mm * shrink,
        "column_spacing_mm": column_mm * shrink, "row": row, "num_bytes": len(read.data), "offset": offset,
        "digest": read.digest, "blood": read.blood,
        **dict(zip(SUBTYPES, ct_slice.subtypes or file.subtypes, strict=True)),
    }  # fmt: skip
    for name, value in values.items():
        rows[name].append(value)


def _append_quarantined(rows: dict[str, list[object]], file: LabelledFile, why: Quarantined) -> None:
    values = {
        "sop_uid": file.sop_uid,
        "file": why.file,
        "reason": why.reason,
        "tag": why.tag,
        "detail": why.detail,
        **dict(zip(SUBTYPES, file.subtypes, strict=True)),
    }
    for name, column in rows.items():
        column.append(values.get(name))


def _write_header(file: BinaryIO, codec: Codec, num_slices: int) -> int:
    """NumPy's header where the shard is an .npy file; the length of what was written."""
    if codec.suffix != ".npy":
        return 0
    shape = (num_slices, STORED_SIZE, STORED_SIZE)
    np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": shape})
    if file.tell() != _NPY_HEADER_BYTES:
        raise RuntimeError(f"an .npy header of {file.tell()} bytes, expected {_NPY_HEADER_BYTES}")
    return _NPY_HEADER_BYTES


def _correct_header(path: Path, codec: Codec, num_slices: int) -> None:
    """Write the shard once more with the number of slices it came to.

    Not in place: some mounted file systems can only write from front to end.
    """

    def write(file: BinaryIO) -> None:
        with path.open("rb") as source:
            source.seek(_write_header(file, codec, num_slices))  # the header's length is always the same
            shutil.copyfileobj(source, file, 2**20)

    write_whole(path, write)
