"""What the test's processes run: importable, since a spawned process imports it anew."""

import os
import signal
import time

from ich_mlflow.tuning import storage as module
from ich_mlflow.tuning.search import Search
from ich_mlflow.tuning.storage import open_storage


def run_worker(where, options, name, dies_at, changed):
    """Work the search off; a process that is told to dies in the first trial of that number or a later one."""
    for constant, value in changed.items():
        setattr(module, constant, value)

    def objective(trial, first):
        x = trial.suggest_float("x", 0, 1)
        time.sleep(0.1)
        if dies_at is not None and trial.number >= dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1 - abs(x - 0.7)

    Search(open_storage(where), options, worker=name).work(objective)
