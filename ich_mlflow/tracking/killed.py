"""Runs of processes that were killed: nobody ended them, so the next command does."""

import hashlib
import os
import socket
import uuid
from contextlib import suppress

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking.fluent import _get_experiment_id

#: Of a run that is not ended: which process is at it.
PROCESS_TAG = "ich.process"
#: Seconds by which the start of one and the same process may seem to move, as when a clock is set.
_CLOCK_S = 60.0
_MOST = 1000


def this_process() -> str:
    """What tells this process from every other, also after its number was given to another."""
    return f"{_machine()} {os.getpid()} {psutil.Process().create_time():.0f}"


def end_killed_runs() -> int:
    """End the runs of this experiment that a process of this machine was killed over, as KILLED; how many there were.

    A training, a search or a trial goes on in its run nevertheless. Runs of other machines are left alone.
    """
    client = MlflowClient()
    running = client.search_runs(
        [str(_get_experiment_id())],
        filter_string=f"attributes.status = 'RUNNING' AND tags.`{PROCESS_TAG}` LIKE '{_machine()} %'",
        max_results=_MOST,
    )
    return sum(_ended(client, run) for run in running if _is_gone(run.data.tags[PROCESS_TAG]))


def _ended(client: MlflowClient, run: MlflowRun) -> bool:
    try:
        client.set_tag(run.info.run_id, "ich.error", "killed: its process is gone and did not end the run")
        client.set_terminated(run.info.run_id, "KILLED")
        client.delete_tag(run.info.run_id, PROCESS_TAG)
    except MlflowException:  # another user's, or deleted in this moment
        return False
    return True


def _is_gone(said: str) -> bool:
    """Whether the process of this machine that said so is no more."""
    try:
        _, number, started = said.split()
        process = psutil.Process(int(number))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(process.create_time() - float(started)) > _CLOCK_S
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):
        return False


def _machine() -> str:
    """Of this machine, and of this container: a process number means something only where it is the same."""
    said = [f"{uuid.getnode():x}", socket.gethostname()]
    with suppress(OSError):
        said.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(said).encode()).hexdigest()[:12]
