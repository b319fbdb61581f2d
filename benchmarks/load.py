"""The server under load and faults: is an answer ever lost, wrong, or another request's?

    python -m benchmarks.load --requests 10000

`mlflow models serve -w 2` of EfficientNet-B0 (224 pixels, weights from phantoms) gets so many requests from 8 clients,
each a DICOM file of 512 x 512 whose pixels are its own: a phantom slice, rolled by a number of rows and columns that no
other request has. What the network says of each is worked out beforehand without a server, and the answer has to be
that. One in twenty is bad in one of six ways and has to be refused with a 4xx. In the middle a worker is killed with
-9; a request that finds its connection broken is sent again, and counted. Prints what became of all, and the memory of
the workers over time. Then the same kill with one worker, to say what is left of that.
"""

import argparse
import json
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mlflow
import numpy as np
import psutil
from tqdm import tqdm

from benchmarks import rest

CLIENTS, WORKERS = 8, 2
BAD_EVERY = 20
#: Pixels between one request's roll and the next's; 128 x 128 of them are there.
STEP = 4
TOLERANCE = 1e-6


class Slices:
    """The DICOM file of each number, and what the network says of it."""

    def __init__(self) -> None:
        self.file = rest.phantom_slice()
        self.start = len(self.file) - 512 * 512 * 2
        self.pixels = np.frombuffer(self.file, "<u2", offset=self.start).reshape(512, 512)

    def of(self, number: int) -> bytes:
        rolled = np.roll(self.pixels, (STEP * (number // 128), STEP * (number % 128)), axis=(0, 1))
        return self.file[: self.start] + rolled.tobytes()


def bad_bodies(good: bytes) -> list[bytes]:
    """A request bad in each of six ways."""
    return [
        b"{not json",
        json.dumps({"inputs": {"dicom": ["!" * 1000]}}).encode(),
        rest.of_dicom(good[:-1000]),
        rest.of_dicom(b"GIF89a" * 1000),
        rest.of_dicom(good.replace(b"\x08\x00\x60\x00CS\x02\x00CT", b"\x08\x00\x60\x00CS\x02\x00MR")),
        json.dumps({"inputs": {"pixels": [[[float("nan")] * 64] * 64]}}).encode(),
    ]


def probabilities(answer: bytes, labels: tuple[str, ...]) -> np.ndarray:
    (line,) = json.loads(answer)["predictions"]
    return np.array([line[f"probability_{label}"] for label in labels])


class Load:
    """Requests of several clients, and what became of them."""

    def __init__(self, address: str, slices: Slices, expected: np.ndarray, labels: tuple[str, ...]) -> None:
        self.address, self.slices, self.expected, self.labels = address, slices, expected, labels
        self.bad = bad_bodies(slices.file)
        self.numbers = iter(range(len(expected)))
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.took: list[float] = []
        self.memory: list[tuple[int, float]] = []
        self.killed_at = len(expected) * 2 // 5
        self.progress = tqdm(total=len(expected), unit="request")

    def client(self) -> None:
        client = rest.Client(self.address)
        while True:
            with self.lock:
                number = next(self.numbers, None)
                self.progress.update()
            if number is None:
                return
            if number == self.killed_at:
                kill_worker(self.address)
            if number % 1000 == 0:
                self.memory.append(
                    (number, sum(p.memory_info().rss for p in rest.server_processes(self.address)) / 1e6)
                )
            outcome = self.one(client, number)
            with self.lock:
                self.counts[outcome] += 1

    def one(self, client: rest.Client, number: int) -> str:
        is_bad = number % BAD_EVERY == BAD_EVERY - 1
        body = (
            self.bad[number // BAD_EVERY % len(self.bad)] if is_bad else rest.of_dicom(self.slices.of(number))
        )
        for _ in range(60):
            started = time.perf_counter()
            try:
                status, answer = client.post(body)
                break
            except (OSError, HTTPException):
                with self.lock:
                    self.counts["sent again"] += 1
                time.sleep(0.2)
        else:
            return "lost"
        if is_bad:
            return "bad, refused" if 400 <= status < 500 else f"bad, but {status}"
        self.took.append(1000 * (time.perf_counter() - started))
        if status != 200:
            return f"good, but {status}"
        difference = np.abs(probabilities(answer, self.labels) - self.expected[number]).max()
        return "good, answered" if difference <= TOLERANCE else "ANOTHER ANSWER"


def kill_worker(address: str) -> None:
    """Kill -9 a worker: of several, a child that holds a network; of one, the server."""
    processes = rest.server_processes(address)
    max(processes, key=lambda process: process.memory_info().rss).kill()


def expected_of(uri: str, slices: Slices, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.serving.smoke_test import offline

    classifier = load_classifier(uri)
    said = [
        offline(classifier, slices.of(number)) for number in tqdm(range(count), desc="expected", unit="slice")
    ]
    return np.array(said), classifier.specification.labels


def told_apart(expected: np.ndarray) -> float:
    """The share of the numbers whose probabilities no other has, to the tolerance."""
    return len(np.unique(np.round(expected / TOLERANCE / 2), axis=0)) / len(expected)


def one_worker_killed(uri: str) -> str:
    from ich_mlflow.serving.smoke_test import served

    with served(uri) as address:
        kill_worker(address)
        time.sleep(15)
        left = [
            process for process in rest.server_processes(address) if process.status() != psutil.STATUS_ZOMBIE
        ]
        return "comes back" if left else "ends the server: something outside has to start it again"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args()
    from ich_mlflow.serving.smoke_test import served

    mlflow.set_tracking_uri(f"sqlite:///{rest.folder('benchmark-serve') / 'mlflow.db'}")
    uri, slices = rest.log_served("benchmark-serve"), Slices()
    expected, labels = expected_of(uri, slices, arguments.requests)
    with served(uri, workers=WORKERS) as address:
        load = Load(address, slices, expected, labels)
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for future in [pool.submit(load.client) for _ in range(CLIENTS)]:
                future.result()
        took = time.perf_counter() - started
        workers = sum(process.memory_info().rss > 1e8 for process in rest.server_processes(address))
    load.progress.close()
    p50, p95 = np.percentile(load.took, [50, 95])
    rate = arguments.requests / took
    print(f"\n{arguments.requests} requests, {CLIENTS} clients, {WORKERS} workers: {rate:.0f} a second")
    print(f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, longest {max(load.took):.0f} ms")
    for what, count in sorted(load.counts.items()):
        print(f"{what:<20}{count:>7}")
    print(f"probabilities that no other request has: {100 * told_apart(expected):.1f} %")
    print("memory of the server's processes, MB: " + ", ".join(f"{mb:.0f}" for _, mb in sorted(load.memory)))
    print(f"a worker of {WORKERS} killed: workers afterwards: {workers}")
    print(f"the only worker killed: {one_worker_killed(uri)}")


if __name__ == "__main__":
    main()
