"""Shards written by processes of this machine."""

import multiprocessing
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import cv2

from ich_mlflow.dataset.shard import ShardTask, ShardWork
from ich_mlflow.errors import DataError, IchError
from ich_mlflow.system.processes import behave, interrupts_ignored, num_cores

#: Shards handed out ahead, a process: it never waits, and little is thrown away at an error.
_AHEAD = 2


def run_local(
    tasks: Sequence[ShardTask], work: ShardWork, *, workers: int | None
) -> Generator[int, None, None]:
    """Write the shards; yield each one's number when it is whole, in no fixed order.

    workers: processes, None for one a core; 1 works in this process. Closing the generator stops them after
    the shards they are at.
    """
    num_workers = min(workers or num_cores(), len(tasks))
    if num_workers <= 1:
        return (work(task) for task in tasks)
    return _run_in_processes(tasks, work, num_workers)


def _run_in_processes(
    tasks: Sequence[ShardTask], work: ShardWork, num_workers: int
) -> Generator[int, None, None]:
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(work,),
    )
    todo = iter(tasks)
    pending: set[Future[int]] = set()
    try:
        with interrupts_ignored():
            pending |= {pool.submit(_work_in_process, task) for task in islice(todo, num_workers * _AHEAD)}
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {pool.submit(_work_in_process, task) for task in islice(todo, len(finished))}
            yield from (future.result() for future in finished)
    except BrokenProcessPool:
        raise DataError(
            "a reading process ended before its work was done; most often it is killed because memory runs out: "
            "pass fewer workers, -P workers=1. The same command goes on from here"
        ) from None
    except IchError as error:
        # The cause is the worker's traceback, which says nothing that the message doesn't.
        raise type(error)(str(error)) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: ShardWork | None = None


def _start_worker(work: ShardWork) -> None:
    global _work
    behave()
    cv2.setNumThreads(1)
    _work = work


def _work_in_process(task: ShardTask) -> int:
    if _work is None:
        raise RuntimeError("_start_worker has not run in this process")
    return _work(task)
