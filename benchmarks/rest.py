"""What the benchmarks of the server have in common: a model at full size, requests, clients, memory."""

import base64
import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import psutil

IMAGE_SIZE = 224


def full_size_model(labels: tuple[str, ...]):
    """EfficientNet-B0 at 224 pixels with the weights and the head that came from phantoms."""
    from ich_mlflow.ct.window import BRAIN
    from ich_mlflow.labels import class_scheme
    from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
    from ich_mlflow.models.slice_cnn.classifier import backbone_of, build_classifier
    from ich_mlflow.models.weights import put_weights, read_weights, shipped_path

    weights = read_weights(shipped_path("efficientnet-b0-phantom"))
    backbone = build_backbone(name="efficientnet-b0", image_size=IMAGE_SIZE)
    model = build_classifier(
        num_labels=len(labels), image_size=IMAGE_SIZE, windows=(BRAIN,), backbone=backbone
    )
    put_weights(backbone_of(model), weights.arrays)
    taught = class_scheme(6).labels
    places = [taught.index(label) for label in labels]
    kernel, bias = (weights.arrays[f"probabilities/{number}"] for number in range(2))
    model.get_layer("dense").set_weights([weights.arrays[f"dense/{number}"] for number in range(2)])
    model.get_layer("probabilities").set_weights([kernel[:, places], bias[places]])
    return model


def specification():
    """Of the demonstration model of 5 classes: its calibration and operating points were chosen on phantoms."""
    from ich_mlflow.models.weights import shipped_path
    from ich_mlflow.serving.classifier import Specification

    return Specification.read(
        shipped_path("efficientnet-b0-phantom").with_name("efficientnet-b0-phantom-5class.json")
    )


def log_served(experiment: str) -> str:
    """Log the full size model as it is served; its URI."""
    import mlflow

    from ich_mlflow.models.slice_cnn.packing import network_of
    from ich_mlflow.models.weights import WITHOUT_PATIENTS
    from ich_mlflow.phantom.exam import ExamOptions, make_exam
    from ich_mlflow.serving.packaging import log_models

    mlflow.set_experiment(experiment)
    packed = specification()
    exam = make_exam(ExamOptions(seed=0, exam_rate=1.0, rows=256), 0)
    with mlflow.start_run():
        model = full_size_model(packed.labels)
        return log_models(
            [network_of(model, exam.hu[::6][..., None])],
            packed,
            WITHOUT_PATIENTS["phantom"],
            name="benchmark",
        )[1]


def of_dicom(data: bytes) -> bytes:
    """The body of a request with one DICOM file."""
    return of_dicoms([data])


def of_dicoms(files: Sequence[bytes]) -> bytes:
    """The body of a request with several, a row each."""
    rows = [[base64.b64encode(data).decode()] for data in files]
    return json.dumps({"dataframe_split": {"columns": ["dicom"], "data": rows}}).encode()


@dataclass
class Client:
    """A connection that is kept."""

    address: str

    def __post_init__(self) -> None:
        self._connect()

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and answer. Raises OSError or HTTPException where the server is gone; then connects anew."""
        try:
            self._connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connect()
            raise

    def _connect(self) -> None:
        place = urlparse(self.address)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)


def milliseconds(post, body: bytes) -> float:
    started = time.perf_counter()
    status, answer = post(body)
    if status != 200:
        raise RuntimeError(f"status {status}: {answer[:300]!r}")
    return 1000 * (time.perf_counter() - started)


def server_processes(address: str) -> list[psutil.Process]:
    """The server of that port: uvicorn, and its workers where it has more than one."""
    port = str(urlparse(address).port)
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any("uvicorn" in part for part in line) and port in line:
            found += [process, *process.children(recursive=True)]
    return found


def workers_mb(address: str) -> list[float]:
    """Resident memory of each process that holds a network: not of uvicorn, nor of what decodes codestreams."""
    decoders = "ich_mlflow.dicom.decoder_process"
    return [
        process.memory_info().rss / 1e6
        for process in server_processes(address)
        if decoders not in process.cmdline() and process.memory_info().rss > 1e8
    ]


def memory_mb(address: str) -> float:
    """Resident memory of the process that holds most of it: a worker."""
    return max(process.memory_info().rss for process in server_processes(address)) / 1e6


def phantom_slice() -> bytes:
    """A DICOM file of 512 x 512, not compressed."""
    from ich_mlflow.stages.promote.examination import phantom_dicom

    return phantom_dicom()


def folder(name: str) -> Path:
    """Where a benchmark keeps its MLflow database, beside the rest of what is not committed."""
    path = Path("data") / name
    path.mkdir(parents=True, exist_ok=True)
    return path
