"""Shards written by Apache Spark.

The executors write to the set's folder themselves, so it must be one that the driver and every executor see
under the same path, on a file system that can rename: docs/preprocessing.md says which.
"""

import contextlib
import os
import pickle
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ich_mlflow.dataset.shard import JOURNAL, ShardTask, ShardWork, journal_path
from ich_mlflow.errors import DataError
from ich_mlflow.system.spark import spark_session, what_failed

_POLL_SECONDS = 0.2
#: How long after the job's end its files may take to be seen here.
_GRACE_SECONDS = 30.0
_TAG = "ich_mlflow-preprocess"


def run_spark(tasks: Sequence[ShardTask], work: ShardWork, *, master: str) -> Generator[int, None, None]:
    """Write the shards on Spark, one a task; yield each one's number when its journal is seen.

    master: a Spark master URL, as local[*] or spark://host:7077; it is ignored where a session is active
    already (a notebook's, Databricks'). Raises OptionError without PySpark or Java, DataError where the job
    fails or the executors write to another folder than the driver reads.
    """
    with spark_session(master, name="ich_mlflow preprocess") as spark:
        job = _Job(spark, tasks, work)
        job.start()
        try:
            yield from _follow(tasks, Path(work.folder), job)
        finally:
            job.stop()


def _follow(tasks: Sequence[ShardTask], folder: Path, job: "_Job") -> Iterator[int]:
    waiting, deadline = {task.number for task in tasks}, None
    while waiting:
        alive = job.is_alive()
        seen = {number for number in waiting if journal_path(folder, number).is_file()}
        yield from sorted(seen)
        waiting -= seen
        if not alive and not seen:
            if job.error is not None:
                raise DataError(what_failed(job.error)) from None
            # Network file systems show new files late; looking through the folder makes some of them look.
            if time.monotonic() > (deadline := deadline or time.monotonic() + _GRACE_SECONDS):
                break
            os.listdir(folder / JOURNAL)
        time.sleep(0 if seen else _POLL_SECONDS)
    job.join()
    if waiting:
        raise DataError(
            f"Spark wrote {len(waiting)} shards that {folder} does not show here: choose an output folder that "
            "the driver and every executor see under the same path"
        )


class _Job(threading.Thread):
    """The Spark job, in a thread, so that the driver can watch the folder meanwhile."""

    def __init__(self, spark: Any, tasks: Sequence[ShardTask], work: ShardWork) -> None:
        super().__init__(daemon=True)
        self._spark, self._tasks, self._work = spark, tasks, work
        self.error: Exception | None = None

    def run(self) -> None:
        work = self._work
        rows = [(pickle.dumps(task),) for task in self._tasks]

        def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            _prepare_executor()
            for batch in batches:
                for payload in batch.column("task"):
                    number = work(pickle.loads(payload.as_py()))
                    yield pa.RecordBatch.from_pydict({"number": pa.array([number], pa.int32())})

        try:
            self._spark.addTag(_TAG)
            # One partition a shard: repartition() would put two into some and none into others.
            tasks = self._spark.sparkContext.parallelize(rows, len(rows))
            frame = self._spark.createDataFrame(tasks, "task binary")
            frame.mapInArrow(write, "number int").collect()
        except Exception as error:  # Py4J wraps whatever failed, here or there.
            self.error = error

    def stop(self) -> None:
        if self.is_alive():
            with contextlib.suppress(Exception):
                self._spark.interruptTag(_TAG)
            self.join(timeout=30)


def _prepare_executor() -> None:
    import cv2

    cv2.setNumThreads(1)
