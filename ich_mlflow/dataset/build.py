"""Building a stored set from a source: read and resample in processes, split by patient, write."""

import hashlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.dataset.chunks import Chunk, read_chunk, read_chunk_in_worker, start_worker
from ich_mlflow.dataset.split import DEFAULT_FRACTIONS, assert_disjoint, check_fractions, split_patients
from ich_mlflow.dataset.store import StoredSet, is_stored_set
from ich_mlflow.dataset.store_writer import StoreWriter
from ich_mlflow.errors import DataError, IchError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.sources.base import LabelledFile, Source

Chunks = Generator[Chunk, None, None]

#: Large enough to hide what a process costs, small enough to keep all busy to the end.
CHUNK_SIZE = 25
#: Chunks read ahead of the writer, a worker: bounds memory where the disk is slower than the workers.
_AHEAD = 3


def build_stored_set(
    source: Source,
    out: Path,
    *,
    seed: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    workers: int | None = None,
    progress: bool = True,
    source_options: dict[str, Any] | None = None,
) -> StoredSet:
    """Read every labelled slice of `source` and store it at `out`, split by patient.

    workers: processes, None for one a core; 1 reads in this process. progress: a bar on stderr.
    A complete set at `out` of the same source, files, labels and options is opened as it is (`.reused`).
    What is written before an error or Ctrl-C is removed. Raises DataError for unusable input or where `out`
    holds something else, SliceError for the first slice that can't be used, SplitError as split_patients.
    """
    out = Path(out)
    check_fractions(fractions)
    files = source.files()
    if not files:
        raise DataError(f"source {source.name} has no labelled slices: check its folder")
    options = {
        "seed": seed,
        "fractions": [float(share) for share in fractions],
        "stored_size": STORED_SIZE,
        "source_options": dict(source_options or {}),
    }
    fingerprint = _fingerprint(files)
    if is_stored_set(out):
        return _reuse(out, source=source.name, options=options, fingerprint=fingerprint)
    try:
        with StoreWriter(out, num_slices=len(files)) as writer:
            _write_pixels(writer, _read(source, files, workers), num_slices=len(files), progress=progress)
            table = writer.table()
            patients = table["patient_id"].to_numpy()
            subtypes = table[list(SUBTYPES)].to_numpy()
            splits = split_patients(patients, subtypes, fractions=fractions, seed=seed)
            assert_disjoint(patients, splits)
            return writer.finish(splits, source=source.name, options=options, fingerprint=fingerprint)
    except OSError as error:
        raise DataError(
            f"{out} can't be written ({error.strerror}): check its disk and permissions"
        ) from None


def _write_pixels(writer: StoreWriter, chunks: Chunks, *, num_slices: int, progress: bool) -> None:
    bar = tqdm(total=num_slices, unit="slice", disable=not progress, file=sys.stderr)
    # Closing the generator on the way out is what stops its processes.
    with closing(chunks), bar:
        for chunk in chunks:
            for hu, record in zip(chunk.hu, chunk.records, strict=True):
                writer.append(hu, record)
            bar.update(len(chunk.records))


def _reuse(out: Path, *, source: str, options: dict[str, Any], fingerprint: str) -> StoredSet:
    stored = StoredSet.open(out)
    wanted = {"source": source, "options": options, "fingerprint": fingerprint}
    differing = [name for name, value in wanted.items() if stored.manifest.get(name) != value]
    if differing:
        what = "source files or labels" if differing == ["fingerprint"] else " and ".join(differing)
        raise DataError(
            f"{out} holds a set made with other {what} (see its manifest.json): "
            "choose another output folder, or remove it"
        )
    stored.reused = True
    return stored


def _fingerprint(files: Sequence[LabelledFile]) -> str:
    """SHA-256 over file names, sizes and labels: cheap, and blind to a file changed at the same size."""
    total = hashlib.sha256()
    for file in files:
        try:
            size = os.stat(file.path).st_size
        except OSError as error:
            raise DataError(f"{file.path} can't be read ({error.strerror}): check the data set") from None
        total.update(f"{file.sop_uid}\x1f{file.path.name}\x1f{size}\x1f{file.subtypes}\x1e".encode())
    return total.hexdigest()


def _read(source: Source, files: Sequence[LabelledFile], workers: int | None) -> Chunks:
    chunks = [files[start : start + CHUNK_SIZE] for start in range(0, len(files), CHUNK_SIZE)]
    num_workers = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    if num_workers <= 1:
        return (read_chunk(source, chunk) for chunk in chunks)
    return _read_in_processes(source, chunks, num_workers)


def _read_in_processes(source: Source, chunks: list[Sequence[LabelledFile]], num_workers: int) -> Chunks:
    """Chunks in order, read by spawned processes no further ahead than the writer needs."""
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(source,),
    )
    todo = iter(chunks)
    pending: deque[Future[Chunk]] = deque()
    try:
        with _interrupts_ignored():
            pending.extend(pool.submit(read_chunk_in_worker, c) for c in islice(todo, num_workers * _AHEAD))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(read_chunk_in_worker, c) for c in islice(todo, 1))
    except BrokenProcessPool:
        raise DataError(
            "a reading process was killed, most often for want of memory: pass fewer workers, -P workers=1"
        ) from None
    except IchError as error:
        # The cause is the worker's traceback, which says nothing that the message doesn't.
        raise type(error)(str(error)) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started here ignore Ctrl-C from their first instruction, and print no traceback at it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
