"""The search itself: an Optuna study that several processes, or machines, work off together."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from ich_mlflow.errors import OptionError
from ich_mlflow.tuning.storage import GRACE_S, MAX_RETRIES

#: Raised by a trial that is worse than the others at its step.
Pruned = optuna.TrialPruned
#: Random trials before TPE has something to go by.
STARTUP_TRIALS = 8
#: So many trials that fail before one succeeds end the search: the mistake is not the setting's.
MAX_FIRST_FAILURES = 3
#: Seconds that others wait for the process that founds a search.
_FOUNDING_S = 60.0
_WAIT_S = 1.0
_SURPLUS, _WORKER, _ERROR = "surplus", "worker", "error"


_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=ExperimentalWarning)


#: A trial, and the number under which its setting was first tried, to its value.
Objective = Callable[[optuna.Trial, int], float]


class TrialFailed(Exception):
    """One trial failed; the search goes on."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How a search goes. direction: maximize or minimize; sampler: tpe or random; pruner: median, hyperband or none.

    num_steps: most epochs a trial can have; first_step: the first after which it may be pruned.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    sampler: str = "tpe"
    pruner: str = "median"
    num_trials: int
    num_steps: int
    first_step: int = 1
    seed: int = 0


class Search:
    """One search in its storage. worker: who runs trials here; the same number on no other live process."""

    def __init__(
        self, storage: optuna.storages.BaseStorage, options: SearchOptions, *, worker: str = ""
    ) -> None:
        self.options = options
        self.founded = False
        #: Whether the storage itself tells which worker is dead.
        self.has_heartbeat = isinstance(storage, RDBStorage)
        self._worker = worker
        self._number = -1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study = self._open(storage)
        if self.study.direction.name.lower() != options.direction:
            raise OptionError(
                f"search {options.name} has the direction {self.study.direction.name.lower()}, expected "
                f"{options.direction}: pass another -P search="
            )

    def _open(self, storage: optuna.storages.BaseStorage) -> optuna.Study:
        about: dict[str, Any] = {
            "study_name": self.options.name,
            "storage": storage,
            "pruner": self._pruner(),
        }
        try:
            study = optuna.create_study(direction=self.options.direction, **about)
            self.founded = True
        except DuplicatedStudyError:
            study = optuna.load_study(**about)
        return study

    def notes(self, *, wait: bool) -> dict[str, Any]:
        """What the founder noted; empty where there is nothing yet, and this process is to `begin`.

        wait: another machine may be founding it at this moment, so give it a minute.
        """
        waited = 0.0
        while wait and not self.founded and "notes" not in self.study.user_attrs and waited < _FOUNDING_S:
            time.sleep(_WAIT_S)
            waited += _WAIT_S
        return dict(self.study.user_attrs.get("notes", {}))

    def begin(self, notes: dict[str, Any]) -> None:
        """Found the search."""
        self.study.set_user_attr("notes", notes)

    def try_first(self, values: dict[str, Any]) -> None:
        """Have these values of dimensions tried before any is drawn, if they have not been."""
        self.study.enqueue_trial(values, skip_if_exists=True)

    def note(self, **values: Any) -> None:
        """Keep something for the next who opens the search."""
        self.study.set_user_attr("notes", {**self.study.user_attrs["notes"], **values})

    def work(self, objective: Objective, *, most: int | None = None) -> None:
        """Run trials until all have ended, those of other workers too: one that dies leaves its trial to the rest.

        most: return after so many of its own, whether or not all have ended.

        objective: raises Pruned or TrialFailed to end the trial alone; any other error ends the work and gives the
        trial back to the search.
        """
        ran = 0
        while not self.is_over and ran != most:
            if len(_taking_a_place(self._trials())) >= self.options.num_trials:
                time.sleep(_WAIT_S)
                self._fail_stale()
                continue
            self.study.sampler = self._sampler()
            ran += 1
            try:
                self.study.optimize(
                    lambda trial: self._run(trial, objective), n_trials=1, catch=(TrialFailed,)
                )
            except BaseException:
                self._queue_again(self._number)
                raise

    def _run(self, trial: optuna.Trial, objective: Objective) -> float:
        self._number = trial.number
        trial.set_user_attr(_WORKER, self._worker)
        # Two may take the last place at once; the later one gives way.
        trials = self._trials()
        before = [one for one in _taking_a_place(trials) if one.number < trial.number]
        if len(before) >= self.options.num_trials:
            trial.set_user_attr(_SURPLUS, True)
            raise Pruned
        try:
            value = objective(trial, first_number(trials[trial.number]))
        except Pruned:
            raise
        except TrialFailed as error:
            trial.set_user_attr(_ERROR, str(error))
            raise
        if not math.isfinite(value):
            trial.set_user_attr(_ERROR, f"its value is {value}")
            raise TrialFailed
        return value

    def give_back(self, number: int) -> None:
        """Fail a running trial that did not end by itself, and queue its setting again, twice at most."""
        trial = self._trials()[number]
        if trial.state != TrialState.RUNNING:
            return
        self.study.tell(number, state=TrialState.FAIL)
        self._queue_again(number)

    def _queue_again(self, number: int) -> None:
        # A copy: the callback writes into the trial that it is given.
        trial = copy.deepcopy(self._trials()[number])
        RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES)(self.study, trial)

    def give_back_all(self, worker: str | None = None) -> int:
        """Give back the running trials of that worker, which is dead; of all workers where None. Returns how many."""
        given = 0
        for trial in self._trials():
            if trial.state == TrialState.RUNNING:
                owner = trial.user_attrs.get(_WORKER)
                if worker is None or owner == worker or (owner is None and _age_s(trial) > GRACE_S):
                    self.give_back(trial.number)
                    given += 1
        return given

    def _fail_stale(self) -> None:
        if self.has_heartbeat:
            optuna.storages.fail_stale_trials(self.study)

    @property
    def is_over(self) -> bool:
        """Whether every trial has ended, or the first few all failed."""
        ended = self.ended()
        return len(ended) >= self.options.num_trials or self.why_given_up is not None

    @property
    def why_given_up(self) -> str | None:
        """The reason where the first few trials all failed; None otherwise."""
        ended = self.ended()
        failed = [trial for trial in ended if trial.state == TrialState.FAIL]
        if len(failed) < MAX_FIRST_FAILURES or len(failed) < len(ended):
            return None
        return f"the first {len(failed)} trials all failed, the last because {error_of(failed[-1])}"

    def ended(self) -> list[FrozenTrial]:
        """The trials that count and have ended: complete, pruned or failed, without those that were queued again."""
        return [trial for trial in _taking_a_place(self._trials()) if trial.state.is_finished()]

    @property
    def best(self) -> FrozenTrial | None:
        """The complete trial with the best value; None before the first."""
        complete = [trial for trial in self.ended() if trial.state == TrialState.COMPLETE]
        sign = 1 if self.options.direction == "maximize" else -1
        return max(complete, key=lambda trial: sign * _value(trial), default=None)

    def importances(self) -> dict[str, float]:
        """The share of the variance between trials that each dimension accounts for (fANOVA: Hutter et al., ICML 2014).

        Only of dimensions that counted in every complete trial; none where fewer than four are complete, or all are
        equal.
        """
        complete = [trial for trial in self.ended() if trial.state == TrialState.COMPLETE]
        if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(optuna.importance.get_param_importances(self.study, evaluator=evaluator))

    def table(self, dimensions: Sequence[str]) -> pd.DataFrame:
        """One row an ended trial, in the order of its number: trial, state, value, steps, started, ended, worker,
        error, and the dimensions. started and ended are seconds since the first began; empty where nothing is known."""
        ended = self.ended()
        began = min((_seconds(trial.datetime_start) for trial in ended), default=0.0)
        rows = [
            {
                "trial": first_number(trial),
                "state": _STATES[trial.state],
                "value": np.nan if trial.value is None else trial.value,
                "steps": len(trial.intermediate_values),
                "started": _seconds(trial.datetime_start) - began,
                "ended": _seconds(trial.datetime_complete) - began,
                "worker": str(trial.user_attrs.get(_WORKER, "")),
                "error": error_of(trial),
                **{name: trial.params.get(name) for name in dimensions},
            }
            for trial in ended
        ]
        columns = ["trial", "state", "value", "steps", "started", "ended", "worker", "error", *dimensions]
        frame = pd.DataFrame(rows, columns=columns)
        return frame.sort_values("trial", ignore_index=True)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _sampler(self) -> BaseSampler:
        # A sampler of each trial's own: neither two workers nor a search that goes on draw the same numbers again.
        words = [self.options.seed, len(self._trials()), *self._worker.encode()]
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        if self.options.sampler == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TPESampler(
                seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, constant_liar=True
            )

    def _pruner(self) -> optuna.pruners.BasePruner:
        options = self.options
        if options.pruner == "median":
            return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=options.first_step)
        if options.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=max(1, options.first_step), max_resource=max(2, options.num_steps)
            )
        return optuna.pruners.NopPruner()


def first_number(trial: FrozenTrial) -> int:
    """The number under which this setting was first tried: its own unless a process died over it."""
    history = trial.system_attrs.get("retry_history", [])
    return int(history[0]) if history else trial.number


def error_of(trial: FrozenTrial) -> str:
    """Why a failed trial failed; '' for others."""
    return str(trial.user_attrs.get(_ERROR, "" if trial.state != TrialState.FAIL else "its process died"))


def _taking_a_place(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that ran or run and count: not what waits, what was queued again after its process died, nor surplus."""
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    return [
        trial
        for trial in trials
        if trial.state != TrialState.WAITING
        and not trial.user_attrs.get(_SURPLUS)
        and trial.number not in again
    ]


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()


def _age_s(trial: FrozenTrial) -> float:
    return 0.0 if trial.datetime_start is None else time.time() - trial.datetime_start.timestamp()
