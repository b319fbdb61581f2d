"""Unpack a zip of files from anywhere without trusting it."""

import json
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from ich_mlflow.errors import DataError
from ich_mlflow.intake.files import InputFile
from ich_mlflow.system.whole import read_note, write_whole

#: An archive within the archive is unpacked, one within that is not.
MAX_DEPTH = 2
MAX_FILES = 1_000_000
#: Deflate can't do better than 1,032 to 1. Images come to 2 or 3; a folder of blank ones to perhaps 50.
MAX_RATIO = 100
#: Small archives may unpack to this, whatever their ratio.
_FREE_BYTES = 2**26
#: Left free on the disk.
_RESERVE_BYTES = 2**30
_INDEX = "index.json"
#: What zipfile and its decompressors raise at broken bytes.
_DAMAGES = (
    zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error,
    zlib.error, lzma.LZMAError,
)  # fmt: skip
_CHUNK = 2**20


@dataclass(kw_only=True)
class _Budget:
    """What may still be unpacked; archives within archives draw on the same."""

    bytes: int
    files: int
    found: list[dict[str, object]] = field(default_factory=list)


def is_zip(path: Path) -> bool:
    """Whether the file is a zip by its content."""
    return path.is_file() and zipfile.is_zipfile(path)


def unpack(path: Path, folder: Path) -> list[InputFile]:
    """Unpack into `folder`, or find there what was unpacked before; the files by the names they had.

    Files are written under running numbers, so no name in the archive becomes a path. Refused all the same, with
    nothing left behind: names that lead outside, links, passwords, more than MAX_FILES files, MAX_RATIO times the
    archive's own size (both with what is in archives within), more than the disk holds, archives within
    archives within archives, and broken ones. Raises DataError in one line.
    """
    files = _unpacked(path, folder)
    if files is None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _unpack(path, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        files = _unpacked(path, folder)
        assert files is not None
    return sorted(files, key=lambda file: file.name)


def _unpacked(path: Path, folder: Path) -> list[InputFile] | None:
    """The files of the archive as it is now, by the index that was written last; None where there is none of it."""

    def files(index: dict[str, Any]) -> list[InputFile]:
        if index["archive"] != _stamp(path):
            raise ValueError("of another archive")
        return [
            InputFile(name=one["name"], path=folder / one["file"], num_bytes=one["bytes"], stamp=one["crc"])
            for one in index["files"]
        ]

    return read_note(folder / _INDEX, files)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _unpack(path: Path, folder: Path) -> None:
    budget = _Budget(bytes=max(_FREE_BYTES, MAX_RATIO * path.stat().st_size), files=MAX_FILES)
    free = shutil.disk_usage(folder).free - _RESERVE_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            announced = sum(entry.file_size for entry in archive.infolist())
        if announced > free:
            raise DataError(
                f"the archive unpacks to {announced / 1e9:.1f} GB and {max(free, 0) / 1e9:.1f} GB of disk are left for "
                "it: free some, or choose another out="
            )
        with tqdm(desc="unpacking", unit="file", disable=None, leave=False) as progress:
            _unpack_into(path, "", folder, budget, depth=1, progress=progress)
    except _DAMAGES as error:
        raise DataError(
            f"the archive can't be unpacked ({_said(error)}): copy it again, or unpack it yourself and pass the folder"
        ) from None
    except OSError as error:
        if error.errno is None:  # bzip2's way to say that its bytes are broken
            raise DataError("the archive can't be unpacked (broken): copy it again") from None
        raise DataError(
            f"the archive can't be unpacked to {folder} ({error.strerror or error}): check its disk"
        ) from None
    write_whole(folder / _INDEX, json.dumps({"archive": _stamp(path), "files": budget.found}))


def _unpack_into(
    path: Path, prefix: str, folder: Path, budget: _Budget, *, depth: int, progress: "tqdm[None]"
) -> None:
    if depth > MAX_DEPTH:
        raise DataError(
            f"the archive holds archives within archives, deeper than {MAX_DEPTH} levels: unpack it yourself and pass "
            "the folder"
        )
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            _expect_plain(entry)
            if entry.is_dir():
                continue
            budget.files -= 1
            if budget.files < 0:
                raise DataError(f"the archive holds more than {MAX_FILES} files: split it")
            target = folder / f"{MAX_FILES - budget.files:07d}"
            size = 0
            with archive.open(entry) as packed, target.open("wb") as out:
                for chunk in _chunks(packed, budget):
                    out.write(chunk)
                    size += len(chunk)
            progress.update()
            name = f"{prefix}{entry.filename}".encode("utf-8", "backslashreplace").decode()
            # By name as well: a Word file is a zip, too.
            if name.lower().endswith(".zip") and zipfile.is_zipfile(target):
                _unpack_into(target, f"{name}/", folder, budget, depth=depth + 1, progress=progress)
                target.unlink()
            else:
                budget.found.append({"name": name, "file": target.name, "bytes": size, "crc": entry.CRC})


def _chunks(packed, budget: _Budget) -> Iterator[bytes]:  # type: ignore[no-untyped-def]
    """What is unpacked, counted as it comes: the sizes that an archive announces may be lies."""
    while chunk := packed.read(_CHUNK):
        budget.bytes -= len(chunk)
        if budget.bytes < 0:
            raise DataError(
                f"the archive unpacks to more than {MAX_RATIO} times its size, as no images do: unpack it yourself and "
                "pass the folder, if you trust it"
            )
        yield chunk


def _expect_plain(entry: zipfile.ZipInfo) -> None:
    """A file or folder within the archive's own tree. Names of entries are not repeated: they may be patients'."""
    name = entry.filename.replace("\\", "/")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or name[1:2] == ":" or "\0" in name:
        raise DataError("the archive has a name that leads out of its own folder (../ or /): it is refused")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError("the archive holds a symbolic link: it is refused; pack the files themselves")
    if entry.flag_bits & 1:
        raise DataError("the archive is encrypted: unpack it yourself and pass the folder")


def _said(error: Exception) -> str:
    """What kind of damage, without the names of entries that zipfile puts into its messages."""
    if isinstance(error, NotImplementedError | RuntimeError):
        return "a kind of compression that is not known"
    return "it is cut short" if isinstance(error, EOFError) else "broken"
