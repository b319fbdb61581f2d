"""The server under load and faults: is an answer ever lost, wrong, or another request's?

    python -m benchmarks.load --requests 10000

`mlflow models serve -w 2` of EfficientNet-B0 (224 pixels, weights from phantoms) gets so many requests from 8 clients,
each a DICOM file of 512 x 512 whose pixels are its own: a phantom slice, rolled by a number of rows and columns that no
other request has. What the network says of each is worked out beforehand without a server, and the answer has to be
that. One in twenty is hostile (codestreams that would take seconds and gigabytes, millions of elements, values or
levels), one in twenty is merely bad, and both have to be refused with a 4xx. In the middle a worker is killed; a
request that finds its connection broken, or the server busy (503), is sent again, and counted. All the time /ping is
asked ten times a second. Prints what became of all, the longest ping, and the memory of the workers over time.
Then the same kill with one worker, to say what is left of that.
"""

import argparse
import http.client
import json
import os
import struct
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from io import BytesIO
from urllib.parse import urlparse

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mlflow
import numpy as np
import psutil
import pydicom
from imagecodecs import jpeg2k_encode
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless
from tqdm import tqdm

from benchmarks import rest
from ich_mlflow.serving.gate import MAX_VALUES

CLIENTS, WORKERS = 8, 2
BAD_EVERY = 20
#: Pixels between one request's roll and the next's; 128 x 128 of them are there.
STEP = 4
TOLERANCE = 1e-6
EXAM_SLICES = 32


class Slices:
    """The DICOM file of each number, and what the network says of it."""

    def __init__(self) -> None:
        self.file = rest.phantom_slice()
        self.start = len(self.file) - 512 * 512 * 2
        self.pixels = np.frombuffer(self.file, "<u2", offset=self.start).reshape(512, 512)

    def of(self, number: int) -> bytes:
        rolled = np.roll(self.pixels, (STEP * (number // 128), STEP * (number % 128)), axis=(0, 1))
        return self.file[: self.start] + rolled.tobytes()


def bad_bodies(good: bytes) -> dict[str, bytes]:
    """A request bad in each of six ways, by what it is."""
    return {
        "no JSON": b"{not json",
        "no base64": json.dumps({"inputs": {"dicom": ["!" * 1000]}}).encode(),
        "cut short": rest.of_dicom(good[:-1000]),
        "a GIF": rest.of_dicom(b"GIF89a" * 1000),
        "MR": rest.of_dicom(good.replace(b"\x08\x00\x60\x00CS\x02\x00CT", b"\x08\x00\x60\x00CS\x02\x00MR")),
        "pixels that are not finite": json.dumps(
            {"inputs": {"pixels": [[[float("nan")] * 64] * 64]}}
        ).encode(),
    }


def hostile_bodies(good: bytes) -> dict[str, bytes]:
    """What silenced the server once: decoders, elements, JSON."""
    noise = np.random.default_rng(0).integers(0, 256, size=(4096, 4096)).astype(np.uint16)
    noisy = bytes(jpeg2k_encode(noise, codecformat="j2k", reversible=True))
    return {
        "JPEG 2000 of 4096 x 4096 of noise": rest.of_dicom(_compressed(noisy, 4096)),
        "JPEG 2000 of tiny precincts": rest.of_dicom(_compressed(_tiny_precincts(4096), 4096)),
        "two million elements, deflated": rest.of_dicom(_deflated_items(good)),
        "a million levels of JSON": b'{"inputs": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        "a number of 5,000 digits": b'{"inputs": {"pixels": [[[' + b"7" * 5000 + b"]]]}}",
        "12.6 million values": b'{"inputs": {"pixels": [' + b"0," * (MAX_VALUES + 2) + b"0]}}",
        "5,000 rows": json.dumps({"dataframe_records": [{"dicom": ""}] * 5000}).encode(),
    }


def _compressed(frame: bytes, side: int) -> bytes:
    dataset = pydicom.dcmread(BytesIO(rest.phantom_slice()))
    dataset.Rows = dataset.Columns = side
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _tiny_precincts(side: int) -> bytes:
    """The main header of a JPEG 2000 codestream with precincts of 2 x 2. Source: ITU-T T.800 A.5.1, A.6.1."""
    siz = struct.pack(">HHIIIIIIIIHBBB", 41, 0, side, side, 0, 0, side, side, 0, 0, 1, 15, 1, 1)
    cod = struct.pack(">HBBHBBBBBB", 18, 1, 0, 1, 0, 5, 4, 4, 0, 1) + b"\x11" * 6
    return b"\xff\x4f\xff\x51" + siz + b"\xff\x52" + cod + b"\xff\x90" + bytes(170_000)


def _deflated_items(good: bytes) -> bytes:
    """Two million empty items, deflated to some kilobytes."""
    out = BytesIO()
    dataset = pydicom.dcmread(BytesIO(good))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(out, enforce_file_format=True)
    data = out.getvalue()
    end = 144 + int.from_bytes(data[140:144], "little")
    body = zlib.decompress(data[end:], -zlib.MAX_WBITS)
    place = body.index(b"\x08\x00\x60\x00")
    items = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 2_000_000
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return (
        data[:end]
        + packed.compress(body[:place] + items + b"\xfe\xff\xdd\xe0\0\0\0\0" + body[place:])
        + packed.flush()
    )


def probabilities(answer: bytes, findings: tuple[str, ...]) -> np.ndarray:
    (line,) = json.loads(answer)["predictions"]
    return np.array([line[f"probability_{label}"] for label in findings])


class Load:
    """Requests of several clients, and what became of them."""

    def __init__(self, address: str, slices: Slices, expected: np.ndarray, findings: tuple[str, ...]) -> None:
        self.address, self.slices, self.expected, self.findings = address, slices, expected, findings
        self.hostile, self.bad = (list(of(slices.file).values()) for of in (hostile_bodies, bad_bodies))
        self.numbers = iter(range(len(expected)))
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.took: list[float] = []
        self.memory: list[tuple[int, list[float]]] = []
        self.killed_at = len(expected) * 2 // 5
        self.pings: list[float] = []
        self.done = threading.Event()
        self.progress = tqdm(total=len(expected), unit="request", disable=not len(expected))

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
                self.memory.append((number, rest.workers_mb(self.address)))
            outcome = self.one(client, number)
            with self.lock:
                self.counts[outcome] += 1

    def ping(self) -> None:
        """Until it is done. A worker that was killed answers nobody for a moment; that is the kill's doing."""
        place = urlparse(self.address)
        while not self.done.wait(0.1):
            started = time.perf_counter()
            connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
            try:
                connection.request("GET", "/ping")
                connection.getresponse().read()
                self.pings.append(1000 * (time.perf_counter() - started))
            except (OSError, HTTPException):
                self.counts["ping, connection broken"] += 1
            finally:
                connection.close()

    def one(self, client: rest.Client, number: int) -> str:
        kinds = {BAD_EVERY // 2: ("bad", self.bad), BAD_EVERY - 1: ("hostile", self.hostile)}
        kind, bodies = kinds.get(number % BAD_EVERY, ("good", []))
        round_ = number // BAD_EVERY
        body = bodies[round_ % len(bodies)] if bodies else rest.of_dicom(self.slices.of(number))
        for _ in range(60):
            started = time.perf_counter()
            try:
                status, answer = client.post(body)
                if status != 503:
                    break
                with self.lock:
                    self.counts["sent again, since the server was busy"] += 1
                time.sleep(1.0)
            except (OSError, HTTPException):
                with self.lock:
                    self.counts["sent again"] += 1
                time.sleep(0.2)
        else:
            return "lost"
        if bodies:
            return f"{kind}, refused" if 400 <= status < 500 else f"{kind}, but {status}"
        self.took.append(1000 * (time.perf_counter() - started))
        if status != 200:
            return f"good, but {status}"
        difference = np.abs(probabilities(answer, self.findings) - self.expected[number]).max()
        return "good, answered" if difference <= TOLERANCE else "ANOTHER ANSWER"


def kill_worker(address: str) -> None:
    """Kill -9 a worker: of several, a child that holds a network; of one, the server."""
    processes = rest.server_processes(address)
    max(processes, key=lambda process: process.memory_info().rss).kill()


def each_alone(uri: str, slices: Slices) -> None:
    """Print what each bad request costs a server of one worker: time, the longest /ping, memory before and after."""
    from ich_mlflow.serving.smoke_test import served

    print("| request | MB | status | ms | longest ping, ms | memory before, MB | after, MB |")
    print("|---|---|---|---|---|---|---|")
    bodies = hostile_bodies(slices.file) | bad_bodies(slices.file)
    with served(uri) as address:
        client = rest.Client(address)
        for number in range(200):
            client.post(rest.of_dicom(slices.of(number)))
        # The first large body that comes makes the heap larger, be it honest; what hostile ones add is asked here.
        client.post(rest.of_dicoms([slices.of(number) for number in range(EXAM_SLICES)]))
        for name, body in 2 * list(bodies.items()):
            # takes seconds to make its bodies, and a connection that says nothing for five is closed
            load = Load(address, slices, np.empty((0, 0)), ())
            before, client = rest.memory_mb(address), rest.Client(address)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(load.ping)
                time.sleep(0.5)
                started = time.perf_counter()
                try:
                    status, _ = client.post(body)
                finally:
                    load.done.set()
                took = 1000 * (time.perf_counter() - started)
            client.post(rest.of_dicom(slices.of(0)))
            memory = f"{before:.0f} | {rest.memory_mb(address):.0f}"
            print(
                f"| {name} | {len(body) / 1e6:.1f} | {status} | {took:.0f} | {max(load.pings):.0f} | {memory} |"
            )


def expected_of(uri: str, slices: Slices, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.serving.smoke_test import offline

    classifier = load_classifier(uri)
    said = [
        offline(classifier, slices.of(number)) for number in tqdm(range(count), desc="expected", unit="slice")
    ]
    return np.array(said), classifier.specification.findings


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
    parser.add_argument("--each", action="store_true", help="each bad request alone, with what it costs")
    arguments = parser.parse_args()
    from ich_mlflow.serving.smoke_test import served

    mlflow.set_tracking_uri(f"sqlite:///{rest.folder('benchmark-serve') / 'mlflow.db'}")
    uri, slices = rest.log_served("benchmark-serve"), Slices()
    if arguments.each:
        each_alone(uri, slices)
        return
    expected, findings = expected_of(uri, slices, arguments.requests)
    with served(uri, workers=WORKERS) as address:
        load = Load(address, slices, expected, findings)
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            pinging = pool.submit(load.ping)
            try:
                for future in [pool.submit(load.client) for _ in range(CLIENTS)]:
                    future.result()
            finally:
                load.done.set()
            pinging.result()
        took = time.perf_counter() - started
        load.memory.append((arguments.requests, rest.workers_mb(address)))
        workers = len(load.memory[-1][1])
    load.progress.close()
    p50, p95 = np.percentile(load.took, [50, 95])
    rate = arguments.requests / took
    print(f"\n{arguments.requests} requests, {CLIENTS} clients, {WORKERS} workers: {rate:.0f} a second")
    print(f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, longest {max(load.took):.0f} ms")
    print(f"{len(load.pings)} pings: p50 {np.median(load.pings):.0f} ms, longest {max(load.pings):.0f} ms")
    for what, count in sorted(load.counts.items()):
        print(f"{what:<40}{count:>7}")
    print(f"probabilities that no other request has: {100 * told_apart(expected):.1f} %")
    print("memory of the workers, MB, every thousand requests:")
    for number, each in sorted(load.memory):
        print(f"{number:>8}  " + " + ".join(f"{mb:.0f}" for mb in each))
    print(f"a worker of {WORKERS} killed: workers afterwards: {workers}")
    print(f"the only worker killed: {one_worker_killed(uri)}")


if __name__ == "__main__":
    main()
