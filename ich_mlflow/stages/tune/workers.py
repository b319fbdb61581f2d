"""The processes of a search on this machine: started, watched, replaced where one dies, and stopped."""

import multiprocessing
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from tqdm import tqdm

from ich_mlflow.errors import TrainingError
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.stages.tune.trial import WorkerOptions, work
from ich_mlflow.system.processes import interrupts_ignored
from ich_mlflow.system.quiet import printing_to
from ich_mlflow.tracking.run import Run
from ich_mlflow.tuning.search import Search, error_of, first_number

_LOOK_S = 1.0
#: So many deaths of workers that had no trial: what kills them is not a setting.
_MAX_IDLE_DEATHS = 3


class Workers:
    """told: of the first worker; the others are told the same but for their number and name."""

    def __init__(self, told: WorkerOptions, count: int) -> None:
        self._told = [replace(told, number=number, name=f"{told.name}{number}") for number in range(count)]
        self._processes: dict[int, tuple[BaseProcess, Connection]] = {}
        self._idle_deaths = 0

    def run(self, search: Search, run: Run) -> None:
        """Until the search is over; one line a trial, and the best so far as a metric. Raises the workers' errors."""
        progress = _Progress(search, run, self._told[0])
        try:
            if not search.is_over:
                for number in range(len(self._told)):
                    self._start(number)
            while self._processes:
                time.sleep(_LOOK_S)
                progress.look()
                for number in list(self._processes):
                    self._look(number, search)
            progress.look()
        except KeyboardInterrupt:
            progress.say("stopped; the same command goes on from here")
            raise
        finally:
            self._stop()
            progress.close()

    def _start(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(self._told[number], there), daemon=True)
        with interrupts_ignored(), printing_to(self._told[number].log_path):
            process.start()
        there.close()
        self._processes[number] = (process, here)

    def _look(self, number: int, search: Search) -> None:
        process, report = self._processes[number]
        if process.is_alive():
            return
        process.join()
        del self._processes[number]
        told = self._told[number]
        message = _received(report)
        if process.exitcode == 0:
            if not search.is_over:  # it has run as many trials as one process may
                self._start(number)
            return
        if message:
            raise TrainingError(message)
        given = search.give_back_all(told.name)
        self._idle_deaths = 0 if given else self._idle_deaths + 1
        if self._idle_deaths >= _MAX_IDLE_DEATHS:
            raise TrainingError(
                f"worker {number} ended {_MAX_IDLE_DEATHS} times with exit code {process.exitcode} before it began a "
                f"trial: see {told.log_path}"
            )
        print(
            f"worker {number} died (exit code {process.exitcode}, see {told.log_path}); its trial is queued "
            "again. Most often a process is killed because memory runs out: pass fewer -P workers= or a smaller "
            "-P batch_size=",
            file=sys.stderr,
        )
        if not search.is_over:
            self._start(number)

    def _stop(self) -> None:
        for process, _ in self._processes.values():
            process.kill()
        for process, _ in self._processes.values():
            process.join()
        self._processes.clear()


class _Progress:
    """A bar over the trials, and a line for each that has ended."""

    def __init__(self, search: Search, run: Run, told: WorkerOptions) -> None:
        self._search, self._run = search, run
        monitor = MONITORS[told.space.base.monitor]
        self._direction, self._said = monitor.direction, monitor.title
        self._name = f"best/{told.space.base.monitor}"
        self._seen = {trial.number for trial in search.ended()}
        self._bar: Any = tqdm(
            total=told.search.num_trials, initial=len(self._seen), desc="trials", unit="trial", mininterval=1
        )

    def look(self) -> None:
        """Say what has ended since the last look."""
        for trial in self._search.ended():
            if trial.number in self._seen:
                continue
            self._seen.add(trial.number)
            best = self._search.best
            state = trial.state.name.lower()
            value = "" if trial.value is None else f", {self._said} {trial.value:.4f}"
            error = error_of(trial)
            if best is None or best.value is None:
                best_said = ""
            else:
                best_said = f"; best {best.value:.4f} (trial {first_number(best)})"
                self._run.metrics({self._name: best.value}, step=len(self._seen))
            self.say(f"trial {first_number(trial)} {state}{value}{': ' + error if error else ''}{best_said}")
            self._bar.update()

    def say(self, text: str) -> None:
        self._bar.write(text)

    def close(self) -> None:
        self._bar.close()


def _received(report: Connection) -> str | None:
    try:
        return report.recv() if report.poll() else None
    except EOFError:
        return None
    finally:
        report.close()
