"""The real server on a free port of 127.0.0.1, with a TensorFlow that can't be imported and no pickle allowed."""

import base64
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from imagecodecs import jpeg2k_encode
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from ich_mlflow.serving.gate import MAX_BODY_BYTES, MAX_VALUES, ONLY_JSON
from ich_mlflow.serving.refusal import BAD_PARAMS, BAD_REQUEST, NOT_JSON
from ich_mlflow.serving.smoke_test import served
from tests.factories import write_dicom

NGINX_CONF = Path(__file__).parents[2] / "docs" / "nginx.conf"


@pytest.fixture(scope="module")
def server(trained, workspace):
    blocked = workspace / "no_tensorflow"
    blocked.mkdir(exist_ok=True)
    for name in ("tensorflow", "keras", "sklearn", "matplotlib"):
        (blocked / f"{name}.py").write_text("raise ImportError('not on this machine')\n")
    environment = {"PYTHONPATH": str(blocked), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with served(trained.serving_uri, environment=environment) as address:
        yield address


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    values = np.random.default_rng(3).integers(0, 1100, size=(512, 512))
    return write_dicom(tmp_path_factory.mktemp("rest") / "slice.dcm", values)


def _text(path):
    return base64.b64encode(path.read_bytes()).decode()


def _post(address, body, *, kind="application/json"):
    place = urlparse(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", "/invocations", data, {"Content-Type": kind})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def _same(answer, offline):
    assert list(answer) == list(offline)
    for name, value in offline.items():
        assert answer[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)


def test_over_rest_the_answer_is_the_offline_one_without_tensorflow(server, trained, dicom):
    (offline,) = (
        mlflow.pyfunc.load_model(trained.serving_uri)
        .predict(pd.DataFrame({"dicom": [_text(dicom)]}))
        .to_dict(orient="records")
    )
    for body in (
        {"dataframe_split": {"columns": ["dicom"], "data": [[_text(dicom)]]}},
        {"dataframe_records": [{"dicom": _text(dicom)}]},
        {"inputs": {"dicom": [_text(dicom)]}},
    ):
        status, answer = _post(server, body)
        assert status == 200, answer
        _same(json.loads(answer)["predictions"][0], offline)


def test_a_good_row_beside_a_bad_one_is_lost_only_if_asked_for(server, dicom):
    pixels = np.full((64, 64), 30).tolist()
    rows = [
        {"dicom": _text(dicom)},
        {"dicom": "!"},
        {"dicom": None, "pixels": pixels, "spacing_mm": [3.5, 3.5]},
    ]
    status, answer = _post(server, {"dataframe_records": rows})
    assert (status, json.loads(answer)["message"]) == (
        400, "row 1: dicom is not base64, expected a DICOM file in base64",
    )  # fmt: skip
    status, answer = _post(server, {"dataframe_records": rows, "params": {"on_error": "skip"}})
    first, bad, last = json.loads(answer)["predictions"]
    assert status == 200
    assert first["error"] == last["error"] == ""
    assert bad["error"].startswith("row 1: dicom is not base64")
    assert bad["probability_any"] is None
    assert last["warnings"][0].startswith("window only")


def test_exams_and_heat_maps_over_rest(server, dicom):
    body = {"inputs": {"dicom": [_text(dicom)] * 2}}
    _, answer = _post(server, {**body, "params": {"aggregate": "exam", "operating_point": "sensitivity_95"}})
    (exam,) = json.loads(answer)["predictions"]
    assert (exam["rows"], exam["operating_point"]) == ([0, 1], "sensitivity_95")
    _, answer = _post(server, {**body, "params": {"explain": True}})
    assert base64.b64decode(json.loads(answer)["predictions"][1]["heat_map_subdural"]).startswith(b"\x89PNG")


def test_base64_as_the_command_writes_it_is_read(server, dicom):
    broken = base64.encodebytes(
        dicom.read_bytes()
    ).decode()  # a line break every 76 characters, and at the end
    answers = [
        _post(server, {"dataframe_records": [{"dicom": text}]})
        for text in (_text(dicom), _text(dicom) + "\n", broken, broken.replace("\n", "\r\n"))
    ]
    assert len(set(answers)) == 1
    assert answers[0][0] == 200


def test_slices_as_pixels_are_one_exam_where_they_say_their_series(server):
    pixels = [[[30] * 64] * 64] * 3
    body = {"inputs": {"pixels": pixels, "series": ["s"] * 3}, "params": {"aggregate": "exam"}}
    (exam,) = json.loads(_post(server, body)[1])["predictions"]
    assert exam["rows"] == [0, 1, 2]
    alone = {"inputs": {"pixels": pixels[:1]}, "params": {"aggregate": "exam"}}
    assert [one["rows"] for one in json.loads(_post(server, alone)[1])["predictions"]] == [[0]]


SECRET = "DOE^JANE"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"{{{SECRET}".encode(), NOT_JSON),
        (b"\xff\xfe" + SECRET.encode(), NOT_JSON),
        (json.dumps([SECRET]).encode(), BAD_REQUEST),
        ({"dicom": SECRET}, BAD_REQUEST),
        ({"dataframe_records": SECRET}, BAD_REQUEST),
        ({"dataframe_split": {"columns": ["dicom"], "data": [["a", SECRET]]}}, BAD_REQUEST),
        ({"dataframe_records": [{"dicom": "AAAA"}], "params": {"explain": SECRET}}, BAD_PARAMS),
        ({"dataframe_records": [{"dicom": "AAAA"}], "params": [SECRET]}, BAD_PARAMS),
        (
            {"dataframe_records": [{"dicom": "AAAA"}], "params": {"aggregate": SECRET}},
            "params: aggregate is none of",
        ),
        ({"dataframe_records": []}, "the request has no rows"),
        ({"dataframe_records": [{"name": SECRET}]}, "columns: one of them is not known, expected dicom"),
        (
            {"dataframe_records": [{"dicom": "AAAA", "postion_mm": 3.0}]},
            "columns: one of them is not known (did you mean position_mm or spacing_mm?), expected dicom",
        ),
        ({"inputs": {"dicom": ["AAAA"], SECRET: [1]}}, "columns: one of them is not known, expected dicom"),
        (
            {"dataframe_records": [{"dicom": "AAAA"}], "params": {"agregate": "exam"}},
            "params: one of them is not known (did you mean aggregate?), expected operating_point",
        ),
        (
            {"inputs": {"pixels": [[[0] * 64] * 64] * 3}, "params": {"aggregate": "exam"}},
            "row 0: has no series, which aggregate=exam puts slices together by",
        ),
        ({"dataframe_records": [{"dicom": SECRET}]}, "row 0: dicom is not base64"),
        ({"dataframe_records": [{"pixels": SECRET}]}, "row 0: pixels is not a list"),
        ({"dataframe_records": [{"pixels": [[1, SECRET]]}]}, "row 0: pixels is not a list"),
        ({"dataframe_records": [{"pixels": [[float("nan")] * 64] * 64}]}, "row 0: pixels holds NaN"),
        ({"inputs": {"pixels": [[[1, 2], [3]]]}}, "row 0: pixels is not a list"),
    ],
)
def test_a_bad_request_is_refused_in_one_line_that_repeats_nothing_of_it(server, body, said):
    status, answer = _post(server, body)
    assert status == 400
    message = json.loads(answer)["message"]
    assert message.startswith(said)
    assert "\n" not in message
    for leak in (SECRET, "Traceback", "/", ".py"):
        assert leak not in answer


@pytest.mark.parametrize("kind", ["text/plain", "text/csv", "application/vnd.apache.parquet"])
def test_another_content_type_is_refused(server, kind):
    status, answer = _post(server, b"PAR1", kind=kind)
    assert (status, json.loads(answer)["message"]) == (415, ONLY_JSON)


PLAIN = [[30] * 64] * 64


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "the body is nested too deeply"),
        (b'{"inputs": {"pixels": [[[' + b"7" * 5000 + b"]]]}}", 400, NOT_JSON),
        (b'{"inputs": {"pixels": [' + b"0," * (MAX_VALUES + 2) + b"0]}}", 400, "the body has more than"),
        (
            json.dumps({"dataframe_records": [{"dicom": ""}] * 1025}).encode(),
            400,
            "the request has 1,025 rows",
        ),
        (b" " * (MAX_BODY_BYTES + 1), 413, "the body is larger than 96 MiB"),
        ({"inputs": {"pixels": [[["0"] * 64] * 64]}}, 400, "row 0: pixels is not a list"),
        ({"inputs": {"pixels": [[[True] * 64] * 64]}}, 400, "row 0: pixels is not a list"),
        ({"inputs": {"pixels": [[[True, *[30] * 63]] * 64]}}, 400, "row 0: pixels is not a list"),
        ({"inputs": {"pixels": [PLAIN], "position_mm": ["0.5"]}}, 400, "row 0: position_mm is not a number"),
        (
            {"inputs": {"pixels": [PLAIN], "spacing_mm": [[True, True]]}},
            400,
            "row 0: spacing_mm is not two numbers",
        ),
        (
            {"inputs": {"pixels": [PLAIN], "position_mm": [10**400]}},
            400,
            "row 0: position_mm is not a number",
        ),
    ],
)
def test_what_would_take_the_server_long_is_refused_and_it_goes_on(server, body, status, said):
    found, answer = _post(server, body)
    assert (found, json.loads(answer)["message"][: len(said)]) == (status, said)
    assert _post(server, {"inputs": {"pixels": [PLAIN]}})[0] == 200


def test_a_hostile_codestream_costs_its_row_and_never_the_servers_attention(server, tmp_path):
    hostile = _text(hostile_jpeg_2000(tmp_path))
    body = {"inputs": {"dicom": [hostile]}, "params": {"on_error": "skip"}}
    with ThreadPoolExecutor(4) as clients:
        answers = [clients.submit(_post, server, body) for _ in range(4)]
        while not all(one.done() for one in answers):
            assert requests.get(f"{server}/ping", timeout=30).status_code == 200
            time.sleep(0.05)
    for status, answer in (one.result() for one in answers):
        assert status == 200
        assert "can't be decoded here" in json.loads(answer)["predictions"][0]["error"]
    assert _post(server, {"inputs": {"pixels": [PLAIN]}})[0] == 200


def hostile_jpeg_2000(folder):
    """Sound by its main header, 4096 x 4096 pixels of noise that take seconds to decode."""
    values = np.random.default_rng(0).integers(0, 256, size=(4096, 4096)).astype(np.uint16)
    frame = bytes(jpeg2k_encode(values, codecformat="j2k", reversible=True))

    def change(dataset):
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    path = folder / "hostile.dcm"
    return write_dicom(path, np.zeros((4096, 4096)), signed=False, syntax=JPEG2000Lossless, change=change)


@pytest.fixture
def nginx(server, tmp_path):
    """docs/nginx.conf as it stands, but for its places, in front of the real server."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin")
    if program is None:
        pytest.skip("no nginx here: apt install nginx-light")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key, certificate, users = (tmp_path / name for name in ("key.pem", "certificate.pem", "users"))
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(make.split(), check=True, capture_output=True)
    word = subprocess.run(
        ["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True
    ).stdout
    users.write_text(f"reader:{word}")
    users.chmod(0o644)
    tmp_path.chmod(0o755)
    text = NGINX_CONF.read_text()
    for theirs, ours in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("127.0.0.1:5001", f"127.0.0.1:{urlparse(server).port}"),
        ("/etc/nginx/ich/certificate.pem", str(certificate)),
        ("/etc/nginx/ich/key.pem", str(key)),
        ("/etc/nginx/ich/users", str(users)),
        ("/run/nginx.pid", str(tmp_path / "nginx.pid")),
        ("/var/log/nginx/", f"{tmp_path}/"),
    ):
        assert theirs in text
        text = text.replace(theirs, ours)
    (tmp_path / "nginx.conf").write_text("daemon off;\nuser root;\n" + text)
    process = subprocess.Popen([program, "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
    try:
        for _ in range(100):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _through(port, *, path="/invocations", word="reader:secret", headers=None, body=b"", method="POST"):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    sent = {"Content-Type": "application/json", **(headers or {})}
    if word:
        sent["Authorization"] = "Basic " + base64.b64encode(word.encode()).decode()
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_nginx_in_front_lets_in_who_may_and_what_fits(nginx, dicom):
    body = json.dumps({"inputs": {"dicom": [_text(dicom)]}}).encode()
    status, answer = _through(nginx, body=body)
    assert status == 200
    assert "probability_any" in json.loads(answer)["predictions"][0]
    assert _through(nginx, body=body, word="")[0] == 401
    assert _through(nginx, body=body, word="reader:guess")[0] == 401
    assert _through(nginx, headers={"Content-Length": str(65 * 2**20)})[0] == 413
    assert _through(nginx, body=b"{}")[0] == 400
    assert _through(nginx, path="/docs", method="GET")[0] == 404
    assert _through(nginx, path="/ping", method="GET")[0] == 200
    assert _through(nginx, method="DELETE", body=body)[0] == 403
