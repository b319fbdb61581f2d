"""The real scoring server, started on a model, sent a DICOM file, compared with the offline model, and stopped."""

import base64
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import numpy as np
import psutil

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.dicom.slice import slice_from_bytes
from ich_mlflow.errors import ModelError
from ich_mlflow.monitoring.log import FOLDER_VARIABLE
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.response import probability_columns

READY_S, ANSWER_S = 180.0, 60.0
TOLERANCE = 1e-6
_STOP_S = 20.0


def serving_fault(model_uri: str, classifier: Classifier, dicom: bytes) -> str:
    """'' where the server answers as the classifier does, else what is wrong, in one line."""
    try:
        with served(model_uri) as address:
            answer = ask(address, dicom)
    except ModelError as error:
        return str(error)
    expected = offline(classifier, dicom)
    findings = classifier.specification.findings
    try:
        given = np.array([answer[column] for column in probability_columns(findings)], dtype=float)
    except (KeyError, TypeError, ValueError):
        return "the server's answer lacks a probability of " + ", ".join(findings)
    difference = float(np.max(np.abs(given - expected)))
    if not difference <= TOLERANCE:
        return f"the server's probabilities differ from the offline model's by {difference:.2g}, expected {TOLERANCE:g}"
    return ""


def offline(classifier: Classifier, dicom: bytes) -> np.ndarray:
    """Probabilities float64 [F] of a DICOM file, without a server."""
    return classifier.probabilities(to_stored_size(slice_from_bytes(dicom, "the DICOM file").hu)[None])[0]


def latency_ms(classifier: Classifier, dicom: bytes, *, times: int = 25) -> float:
    """Milliseconds from the bytes of a DICOM file to its probabilities: the median, after a few to warm up."""
    took = []
    for _ in range(times + 3):
        started = time.perf_counter()
        offline(classifier, dicom)
        took.append(1000 * (time.perf_counter() - started))
    return float(np.median(took[3:]))


@contextmanager
def served(
    model_uri: str, *, workers: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """`mlflow models serve` of the model on a free port of 127.0.0.1: its address. ModelError if it doesn't start.

    environment: variables beside this process' own.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        server = _start(model_uri, port, log.fileno(), workers, environment or {})
        try:
            _wait(server, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(server)


def ask(address: str, dicom: bytes) -> dict[str, float]:
    """The server's answer to one DICOM file. Raises ModelError where it gives none."""
    body = {"dataframe_split": {"columns": ["dicom"], "data": [[base64.b64encode(dicom).decode()]]}}
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return dict(json.loads(answer.read())["predictions"][0])
    except urllib.error.HTTPError as error:
        raise ModelError(
            f"the server answers {error.code}: {error.read(200).decode(errors='replace')}"
        ) from None
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"the server gives no answer that can be read ({error})") from None


def _start(
    model_uri: str, port: int, log: int, workers: int, more: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    options = f"-h 127.0.0.1 -p {port} -w {workers} --env-manager local".split()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model_uri, *options]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        "MLFLOW_REGISTRY_URI": mlflow.get_registry_uri(),
        # uvicorn is found on PATH, where this environment may not be.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        **more,
    }
    environment.pop("MLFLOW_RUN_ID", None)
    environment.pop(FOLDER_VARIABLE, None)  # what it asks about is no exam
    # A session of its own, so that Ctrl-C is not sent to it but left to us; Windows has none and ignores the wish.
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _wait(server: subprocess.Popen[bytes], port: int, log) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise ModelError(f"the server ended with exit code {server.returncode}: {_last_line(log)}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).read()
            return
        except OSError:
            time.sleep(0.3)
    raise ModelError(f"the server is not ready after {READY_S:g} s: {_last_line(log)}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ask the server and all that it started to end, and kill what hasn't after a while."""
    try:
        parent = psutil.Process(server.pid)
        processes = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        processes = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, _STOP_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait()


def _last_line(log) -> str:  # type: ignore[no-untyped-def]
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
