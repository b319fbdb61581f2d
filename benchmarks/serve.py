"""`mlflow models serve`, side by side: the plain mlflow.keras flavour, ours, and the floor.

    python -m benchmarks.serve

plain    what a user would do first: a Keras model logged with mlflow.keras, one slice of 224 x 224 x 3 as JSON numbers
ours     this project's version with the same network: one DICOM file of 512 x 512 in base64; with LiteRT, and with
         Keras as its runtime; and one slice of 512 x 512 as JSON numbers (`pixels`)
floor    no server: the DICOM file decoded and resampled, and LiteRT's bare forward pass, in this process

Requests go in turns, so that all meet the same machine. Prints p50 and p95 of a request alone, requests a second at 1
and 8 clients, memory of a worker, seconds to the first answer; then how many times the floor, and how many times ahead
of plain. EfficientNet-B0, weights from phantoms.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mlflow
import numpy as np

from benchmarks import rest

CLIENTS = 8


def log_plain() -> str:
    """EfficientNet-B0 with its head on prepared pictures, by the plain Keras flavour."""
    import keras
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from ich_mlflow.models.slice_cnn.classifier import backbone_of

    whole = rest.full_size_model(rest.specification().labels)
    picture = keras.Input((rest.IMAGE_SIZE, rest.IMAGE_SIZE, 3))
    x = backbone_of(whole)(picture)
    for name in ("gap", "dense", "dropout", "probabilities"):
        x = whole.get_layer(name)(x)
    shape = (-1, rest.IMAGE_SIZE, rest.IMAGE_SIZE, 3)
    signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), shape)]))
    with mlflow.start_run():
        return mlflow.keras.log_model(
            keras.Model(picture, x),
            name="plain",
            signature=signature,
            pip_requirements=["mlflow", "keras", "tensorflow"],
        ).model_uri


class Floor:
    """Decoding and the bare network."""

    def __init__(self, serving_uri: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        folder = Path(mlflow.artifacts.download_artifacts(serving_uri))
        self.interpreter = Interpreter(str(next(folder.rglob("classifier.tflite"))))
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]

    def post(self, data: bytes) -> tuple[int, bytes]:
        from ich_mlflow.ct.resample import to_stored_size
        from ich_mlflow.dicom.slice import slice_from_bytes

        hu = to_stored_size(slice_from_bytes(data, "slice").hu)
        self.interpreter.set_tensor(self.input, hu[None, ..., None].astype(np.float32))
        self.interpreter.invoke()
        self.interpreter.get_tensor(self.output)
        return 200, b""


def a_second(posts: list, body: bytes, seconds: float) -> float:
    """Requests answered a second by clients that each send the next as soon as they have an answer."""
    end = time.perf_counter() + seconds

    def keep_on(post) -> int:
        answered = 0
        while time.perf_counter() < end:
            rest.milliseconds(post, body)
            answered += 1
        return answered

    started = time.perf_counter()
    with ThreadPoolExecutor(len(posts)) as pool:
        answered = sum(pool.map(keep_on, posts))
    return answered / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100, help="of each kind, one after another")
    parser.add_argument("--seconds", type=float, default=15, help="of each throughput")
    parser.add_argument(
        "--before", type=Path, help="a checkout of another commit: only it and this one, in turns"
    )
    arguments = parser.parse_args()
    if arguments.before:
        against(arguments.before.resolve(), arguments.requests)
        return
    from ich_mlflow.dicom.slice import slice_from_bytes
    from ich_mlflow.serving.smoke_test import served

    mlflow.set_tracking_uri(f"sqlite:///{rest.folder('benchmark-serve') / 'mlflow.db'}")
    ours, plain = rest.log_served("benchmark-serve"), log_plain()
    dicom = rest.phantom_slice()
    picture = np.random.default_rng(0).uniform(0, 255, (1, rest.IMAGE_SIZE, rest.IMAGE_SIZE, 3))
    tensor = json.dumps({"inputs": picture.astype(np.float32).tolist()}).encode()
    pixels = json.dumps(
        {"dataframe_records": [{"pixels": slice_from_bytes(dicom, "slice").hu.tolist()}]}
    ).encode()
    keras_runtime = {"SERVING_MODEL_CONFIG": json.dumps({"runtime": "keras"})}
    floor = Floor(ours)
    with ExitStack() as stack:
        addresses, ready = {}, {}
        for name, uri, environment in (
            ("plain", plain, {}), ("ours", ours, {}), ("ours, runtime=keras", ours, keras_runtime),
            ("ours, pixels", ours, {}),
        ):  # fmt: skip
            started = time.perf_counter()
            addresses[name] = stack.enter_context(served(uri, environment=environment))
            ready[name] = time.perf_counter() - started
        bodies = {name: rest.of_dicom(dicom) for name in addresses} | {
            "plain": tensor,
            "ours, pixels": pixels,
        }
        posts = {name: rest.Client(address).post for name, address in addresses.items()}
        posts["floor"], bodies["floor"] = floor.post, dicom
        took: dict[str, list[float]] = {name: [] for name in posts}
        for number in range(arguments.requests + 5):
            for name, post in posts.items():
                one = rest.milliseconds(post, bodies[name])
                if number >= 5:  # the first warm up
                    took[name].append(one)
        rates = {
            name: [
                a_second(
                    [rest.Client(addresses[name]).post for _ in range(count)],
                    bodies[name],
                    arguments.seconds,
                )
                for count in (1, CLIENTS)
            ]
            for name in addresses
        }
        memory = {name: rest.memory_mb(address) for name, address in addresses.items()}
    report(bodies, took, rates, memory, ready)


def against(before: Path, requests: int) -> None:
    """Print the time of a request to a server of that checkout and to one of this, each with its own version."""
    from ich_mlflow.serving.smoke_test import served

    dicom, took = rest.phantom_slice(), {"before": [], "now": []}
    mlflow.set_tracking_uri(f"sqlite:///{rest.folder('benchmark-serve') / 'mlflow.db'}")
    log = f"import mlflow; mlflow.set_tracking_uri({mlflow.get_tracking_uri()!r}); "
    log += "from benchmarks import rest; print('version', rest.log_served('benchmark-serve'))"
    with ExitStack() as stack:
        posts = {}
        for name, checkout in (("before", before), ("now", Path.cwd())):
            path = {"PYTHONPATH": str(checkout)}
            command = [sys.executable, "-c", log.replace("sqlite:///", f"sqlite:///{Path.cwd()}/")]
            said = subprocess.check_output(command, cwd=checkout, env=os.environ | path, text=True)
            (uri,) = (line.split()[1] for line in said.splitlines() if line.startswith("version "))
            posts[name] = rest.Client(stack.enter_context(served(uri, environment=path))).post
        for number in range(requests + 5):
            for name, post in posts.items():
                one = rest.milliseconds(post, rest.of_dicom(dicom))
                if number >= 5:  # the first warm up
                    took[name].append(one)
    for name, each in took.items():
        p50, p95 = np.percentile(each, [50, 95])
        print(f"{name:<8}p50 {p50:.2f} ms, p95 {p95:.2f} ms")
    print(f"now is {np.median(took['now']) / np.median(took['before']):.3f} times before")


HEAD = ("body MB", "p50 ms", "p95 ms", "1 client/s", "8 clients/s", "MB", "ready s")


def report(bodies: dict, took: dict, rates: dict, memory: dict, ready: dict) -> None:
    print(f"\n{'':<22}" + "".join(f"{name:>12}" for name in HEAD))
    for name in ("plain", "ours", "ours, runtime=keras", "ours, pixels", "floor"):
        p50, p95 = np.percentile(took[name], [50, 95])
        cells = [f"{len(bodies[name]) / 1e6:.2f}", f"{p50:.1f}", f"{p95:.1f}"]
        if name in rates:
            cells += [f"{rates[name][0]:.1f}", f"{rates[name][1]:.1f}", f"{memory[name]:.0f}"]
        if name in ready:
            cells.append(f"{ready[name]:.1f}")
        print(f"{name:<22}" + "".join(f"{cell:>12}" for cell in cells))
    middle = {name: float(np.median(values)) for name, values in took.items()}
    ours = middle["ours"]
    print(
        f"ours is {ours / middle['floor']:.2f} times the floor, {middle['plain'] / ours:.1f} times ahead of plain"
    )
    print(
        f"LiteRT is {middle['ours, runtime=keras'] / ours:.1f} times ahead of Keras behind the same version"
    )


if __name__ == "__main__":
    main()
