"""One promotion at a time, wherever the registry is: a registered model's name can be made only once."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError

SUFFIX = ".lock"
#: Seconds that one waits for another's promotion, and after which a lock of another machine is held to be forgotten.
WAIT_S, FORGOTTEN_S = 180.0, 1800.0
_LOOK_S, _SETTLE_S = 0.3, 0.4


@contextmanager
def registry_lock(model_name: str, *, who: str) -> Iterator[None]:
    """Hold the lock of that registered model. One of a dead process on this machine is broken, and a forgotten one.

    Raises PromotionError where another holds it for too long.
    """
    client, name, token = MlflowClient(), f"{model_name}{SUFFIX}", uuid.uuid4().hex
    end = time.monotonic() + WAIT_S
    while not _taken(client, name, token, who):
        holder = _holder(client, name)
        if holder and _is_stale(holder):
            _release(client, name, holder["token"])
        elif time.monotonic() > end:
            held = f"{holder.get('who', 'another')} on {holder.get('host', '?')}, process {holder.get('pid', '?')}"
            raise PromotionError(
                f"{model_name} is being promoted by {held}: try again later, or delete the registered model {name} if "
                "nobody is"
            )
        time.sleep(_LOOK_S)
    try:
        yield
    finally:
        _release(client, name, token)


def _taken(client: MlflowClient, name: str, token: str, who: str) -> bool:
    process = psutil.Process()
    tags = {
        "token": token,
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "started": f"{process.create_time():.2f}",
        "since": f"{time.time():.0f}",
        "who": who,
    }
    try:
        client.create_registered_model(
            name, tags=tags, description="Held while a promotion acts; then it is gone."
        )
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            return False
        raise
    # One who found the same stale lock may delete this one for it: whoever is still there in a moment has it.
    time.sleep(_SETTLE_S)
    return _holder(client, name).get("token") == token


def _holder(client: MlflowClient, name: str) -> dict[str, str]:
    with suppress(MlflowException):  # released in this moment
        return dict(client.get_registered_model(name).tags)
    return {}


def _is_stale(holder: dict[str, str]) -> bool:
    try:
        if time.time() - float(holder["since"]) > FORGOTTEN_S:
            return True
        if holder["host"] != socket.gethostname():
            return False
        started = psutil.Process(int(holder["pid"])).create_time()
        return abs(started - float(holder["started"])) > 1
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError):
        return False


def _release(client: MlflowClient, name: str, token: str) -> None:
    if _holder(client, name).get("token") == token:
        with suppress(MlflowException):
            client.delete_registered_model(name)
