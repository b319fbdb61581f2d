"""Series scored by processes of this machine, each with the network in it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.intake.plan import PlannedSeries
from ich_mlflow.prediction.score import score_series, write_note
from ich_mlflow.processes import behave, interrupts_ignored
from ich_mlflow.serving.classifier import Classifier

#: Of a worker process: its network.
_classifier: Classifier | None = None


def score_locally(
    series: Sequence[PlannedSeries], classifier: Classifier, notes: Path, *, workers: int
) -> Iterator[int]:
    """Score each series and write its note; yield how many slices are done, series by series, in any order."""
    if workers <= 1 or len(series) <= 1:
        for one in series:
            write_note(notes, one.key, score_series(one, classifier))
            yield len(one.files)
        return
    yield from in_processes(
        _score, [(one, notes) for one in series], classifier.folder, workers=min(workers, len(series))
    )


def in_processes(
    work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], model_folder: Path, *, workers: int
) -> Iterator[Any]:
    """The results of `work(classifier, *task)` in processes, as they come. Raises DataError where one dies."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_open, initargs=(model_folder,)
    )
    try:
        with interrupts_ignored():
            futures = [pool.submit(_with_classifier, work, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process died, perhaps for want of memory: the same command goes on from here; workers=1 needs least"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _open(model_folder: Path) -> None:
    import cv2

    global _classifier
    behave()
    cv2.setNumThreads(1)
    _classifier = Classifier(model_folder)


def _with_classifier(work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return work(_classifier, *task)


def _score(classifier: Classifier, series: PlannedSeries, notes: Path) -> int:
    write_note(notes, series.key, score_series(series, classifier))
    return len(series.files)
