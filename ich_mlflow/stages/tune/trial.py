"""One process of a search: trial after trial, each a run under the search's."""

import gc
import shutil
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras

from ich_mlflow.dataset.mixture import open_sets
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import IchError, TrainingError
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.parameters import AUTO
from ich_mlflow.stages.common.training_job import Job, log_history
from ich_mlflow.stages.common.unfinished import kept_in
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.system.processes import behave
from ich_mlflow.tracking.run import child_run, join_tracking, start_run
from ich_mlflow.training.compute import share_machine
from ich_mlflow.training.loop import FitResult
from ich_mlflow.tuning.search import Pruned, Search, SearchOptions, TrialFailed
from ich_mlflow.tuning.space import Space
from ich_mlflow.tuning.storage import open_storage

TRIAL_TAG, STATE_TAG = "ich.trial", "ich.trial_state"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker process is told: which search, what to vary, on which data, and where to log.

    number counts the workers of this machine from 0; name is unlike that of any other live worker.
    """

    number: int
    name: str
    num_workers: int
    search: SearchOptions
    storage: str
    space: Space
    recipe: str
    options: TrainOptions
    data: str
    folder: Path
    parent: str
    experiment_id: str
    tracking_uri: str

    @property
    def log_path(self) -> Path:
        """What the worker prints."""
        return self.folder / f"worker-{self.number}.log"


#: TensorFlow keeps some 200 MB of each trial whatever is cleared: 62 of them in one process took 14 GB. Then a new
#: process goes on.
TRIALS_A_PROCESS = 10


def work(told: WorkerOptions, report: Connection) -> None:
    """Run trials until the search is over, or TRIALS_A_PROCESS.

    A user's mistake is sent as text and ends the process with 1.
    """
    behave()
    try:
        share_machine(told.number, told.num_workers)
        join_tracking(told.tracking_uri, told.experiment_id)
        stored = open_sets(told.data, told.options.parsed_shares)
        if told.options.fold != AUTO:
            stored = stored.with_fold(int(told.options.fold))
        search = Search(open_storage(told.storage), told.search, worker=told.name)
        search.work(Trials(told, stored), most=TRIALS_A_PROCESS)
    except IchError as error:
        report.send(str(error))
        sys.exit(1)


class Trials:
    """The objective: a setting is drawn, trained, and scored on validation by its best epoch."""

    def __init__(self, told: WorkerOptions, stored: StoredSet) -> None:
        self._told, self._stored = told, stored
        self._done: Path | None = None

    def __call__(self, trial: Any, first: int) -> float:
        told = self._told
        if self._done:  # the trial before has told its value by now, so nobody needs its checkpoint
            shutil.rmtree(self._done, ignore_errors=True)
        hyperparameters = told.space.suggest(trial)
        before = None
        if first != trial.number:  # a process died over it; the run that it began goes on
            before = child_run(told.parent, told.experiment_id, tag=TRIAL_TAG, value=first)
        pruned = None
        try:
            with start_run(
                "trial", name=f"trial {first}", parent=told.parent, tags={TRIAL_TAG: first}, resume=before
            ) as run:
                folder = self._done = told.folder / "trials" / run.run_id
                watch = _watch(trial, hyperparameters)
                kept = kept_in(folder, run.run_id)
                job = Job(run, told.options, told.recipe, hyperparameters, kept, watch=watch)
                print(f"\ntrial {first}, run {run.run_id}")
                try:
                    value = self._train(job)
                    run.tags({STATE_TAG: "complete"})
                except Pruned as error:
                    pruned, run.status = error, "KILLED"
                    run.tags({STATE_TAG: "pruned"})
                except (Exception, KeyboardInterrupt):
                    run.tags({STATE_TAG: "failed"})
                    raise
        except TrainingError as error:
            print(f"trial {first} failed: {error}")
            raise TrialFailed(str(error)) from None
        except IchError:
            raise
        except Exception as error:  # whatever breaks one setting leaves the others
            traceback.print_exc()
            raise TrialFailed(f"{type(error).__name__}: {error}".splitlines()[0]) from error
        finally:
            keras.backend.clear_session()
            gc.collect()
        if pruned:
            raise pruned
        return value

    def _train(self, job: Job) -> float:
        fitted = job.fit(self._stored)
        log_history(job, fitted, self._stored)
        value = value_of(fitted.result, job.hyperparameters)
        name = MONITORS[job.hyperparameters.monitor].figure
        best = fitted.result.history.iloc[fitted.result.best_epoch]
        job.run.metrics({"value": value, "val/loss": best["val_loss"], **{name: value}})
        return value


def value_of(result: FitResult, hyperparameters: Any) -> float:
    """The monitored figure of the best epoch."""
    return float(result.history[MONITORS[hyperparameters.monitor].figure].iloc[result.best_epoch])


def _watch(trial: Any, hyperparameters: Any) -> Any:
    name = MONITORS[hyperparameters.monitor].figure

    def after_epoch(epoch: int, figures: dict[str, float]) -> None:
        trial.report(figures[name], epoch)
        if trial.should_prune():
            raise Pruned

    return after_epoch
