"""One promotion at a time, wherever the registry is: a registered model's name can be made only once."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError
from ich_mlflow.tracking.answers import expect_absent

SUFFIX = ".lock"
#: Seconds that one waits for another's promotion, and after which a lock of another machine is held to be forgotten.
WAIT_S, FORGOTTEN_S = 180.0, 1800.0
_LOOK_S, _SETTLE_S = 0.3, 0.4
_TAKEN = "RESOURCE_ALREADY_EXISTS"


@dataclass(frozen=True)
class Held:
    """A lock that this process took."""

    name: str
    token: str

    def expect_held(self) -> None:
        """Raise PromotionError where it is another's by now: this process was taken for dead."""
        if _holder(MlflowClient(), self.name).get("token") != self.token:
            raise PromotionError(
                f"the lock {self.name} was lost while this promotion acted, as after a long pause: nothing more is "
                "changed, run the same again"
            )


@contextmanager
def registry_lock(model_name: str, *, who: str) -> Iterator[Held]:
    """Hold the lock of that registered model. One of a dead process on this machine is broken, and a forgotten one.

    Raises PromotionError where another holds it for too long.
    """
    client, held = MlflowClient(), Held(f"{model_name}{SUFFIX}", uuid.uuid4().hex)
    end = time.monotonic() + WAIT_S
    clock: _ServerClock | None = None
    while not _taken(client, held, who):
        clock = clock or _ServerClock(client, held)
        holder = _holder(client, held.name)
        if holder and _is_stale(holder, clock.now()):
            _break(client, held.name, holder["token"], clock)
        elif time.monotonic() > end:
            by = f"{holder.get('who', 'another')} on {holder.get('host', '?')}, process {holder.get('pid', '?')}"
            raise PromotionError(
                f"{model_name} is being promoted by {by}: try again later, or delete the registered model {held.name} "
                "if nobody is"
            )
        time.sleep(_LOOK_S)
    try:
        yield held
    finally:
        with suppress(PromotionError):  # a registry that answers nobody must not hide what happened
            _release(client, held.name, held.token)


class _ServerClock:
    """Seconds by the clock of the registry, which is the same for all who wait: something is made, and is so old."""

    def __init__(self, client: MlflowClient, held: Held) -> None:
        name = f"{held.name}.clock.{held.token}"
        made = client.create_registered_model(name).creation_timestamp / 1000
        self._ahead_s = made - time.monotonic()
        with suppress(MlflowException):
            client.delete_registered_model(name)

    def now(self) -> float:
        return time.monotonic() + self._ahead_s


def _taken(client: MlflowClient, held: Held, who: str) -> bool:
    process = psutil.Process()
    tags = {
        "token": held.token,
        "host": socket.gethostname(),
        "machine": machine(),
        "pid": str(os.getpid()),
        "started": f"{process.create_time():.2f}",
        "who": who,
    }
    try:
        client.create_registered_model(
            held.name, tags=tags, description="Held while a promotion acts; then it is gone."
        )
    except MlflowException as error:
        if error.error_code == _TAKEN:
            return False
        raise
    # One who found the same stale lock may delete this one for it: whoever is still there in a moment has it.
    time.sleep(_SETTLE_S)
    return _holder(client, held.name).get("token") == held.token


def machine() -> str:
    """What tells machines apart whose names are alike: two containers of one image, a laptop after its disk was copied.

    A process number means something only where this is the same: of one start of one kernel, among the same processes.
    """
    said = [f"{uuid.getnode():x}"]
    with suppress(OSError):
        said.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        said.append(os.readlink("/proc/self/ns/pid"))
    if len(said) == 1:
        said.append(f"{psutil.boot_time():.0f}")
    return " ".join(said)


def _holder(client: MlflowClient, name: str) -> dict[str, str]:
    """The tags of the lock, and `since`, by the registry's clock; {} where nobody holds it."""
    try:
        lock = client.get_registered_model(name)
    except MlflowException as error:
        expect_absent(error, name)
        return {}
    return {**lock.tags, "since": str(lock.creation_timestamp / 1000)}


def _is_stale(holder: dict[str, str], now: float) -> bool:
    try:
        if now - float(holder["since"]) > FORGOTTEN_S:
            return True
        if holder["machine"] != machine():
            return False
        started = psutil.Process(int(holder["pid"])).create_time()
        return abs(started - float(holder["started"])) > 1
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError):
        return False


def _break(client: MlflowClient, name: str, token: str, clock: _ServerClock) -> None:
    """Delete a stale lock. Only who can make the right to do so may, and it can be made once a lock.

    So a slow one does not delete the lock that the next holder has made meanwhile.
    """
    right = f"{name}.{token}"
    try:
        client.create_registered_model(right, description="Who made this may delete a forgotten lock.")
    except MlflowException as error:
        if error.error_code != _TAKEN:
            raise
        since = _holder(client, right).get("since")
        if since is not None and clock.now() - float(since) > FORGOTTEN_S:  # its maker died, too
            _delete(client, right)
        return
    _release(client, name, token)
    _delete(client, right)


def _release(client: MlflowClient, name: str, token: str) -> None:
    if _holder(client, name).get("token") == token:
        _delete(client, name)


def _delete(client: MlflowClient, name: str) -> None:
    with suppress(MlflowException):
        client.delete_registered_model(name)
