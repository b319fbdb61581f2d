"""Processes of this machine, each with the network in it: they score series, and then make what studies get."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.intake.plan import PlannedSeries
from ich_mlflow.prediction.score import score_series, write_score
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.system.processes import behave, interrupts_ignored
from ich_mlflow.system.quiet import native_stderr_muted

#: Of a worker process: its network.
_classifier: Classifier | None = None


class Workers:
    """So many processes, started when there is work for more than one; a context. 1: this process, with its network."""

    def __init__(self, classifier: Classifier, count: int) -> None:
        self._classifier, self._count = classifier, count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """The results of `work(classifier, *task)`, as they come. Raises DataError where a process dies."""
        if self._count <= 1 or (self._pool is None and len(tasks) <= 1):
            for task in tasks:
                yield work(self._classifier, *task)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                min(self._count, len(tasks)),
                mp_context=get_context("spawn"),
                initializer=_open,
                initargs=(self._classifier.folder,),
            )
        try:
            with interrupts_ignored():
                futures = [self._pool.submit(_with_classifier, work, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died, perhaps because memory ran out: the same command goes on from here; -P "
                "workers=1 needs the least memory"
            ) from None


def score_locally(series: Sequence[PlannedSeries], workers: Workers, notes: Path) -> Iterator[int]:
    """Score each series and write its note; yield how many slices are done, series by series, in any order."""
    yield from workers.run(_score, [(one, notes) for one in series])


def _open(model_folder: Path) -> None:
    import cv2

    global _classifier
    behave()
    cv2.setNumThreads(1)
    with native_stderr_muted():  # LiteRT says what it runs on
        _classifier = Classifier(model_folder)


def _with_classifier(work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return work(_classifier, *task)


def _score(classifier: Classifier, series: PlannedSeries, notes: Path) -> int:
    write_score(notes, series.key, score_series(series, classifier))
    return len(series.files)
