"""What a user sees in MLflow's UI behind the links that commands print: names, columns, figures. By Chromium."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress

import mlflow
import psutil
import pytest

from ich_mlflow.cli import launch
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from tests.conftest import LABELS
from tests.factories import TINY, ArraySource

playwright = pytest.importorskip("playwright.sync_api", reason="the extra dev has playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium")

#: Kinds of data, of one hospital each.
PLACES = ("north", "south", "west")
SHOWN_MS = 60_000


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What train and evaluate print of each place, in a store of their own: six runs of three kinds of data."""
    folder, before = tmp_path_factory.mktemp("browser"), (os.getcwd(), mlflow.get_tracking_uri())
    os.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("seen in a browser")
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY)
        for place in PLACES:
            source = type("Source", (ArraySource,), {"name": place})(folder, LABELS, slices_per_patient=4)
            stored = build_stored_set(
                source, folder / place, BuildOptions(seed=0, workers=1), progress=False
            ).path
            said[place] = [
                _printed(
                    "train", data=stored, image_size=32, epochs=2, batch_size=8, weights="random",
                    series_smoothing="none",
                ),
                _printed("evaluate", model=_newest("train"), data=stored, resamples=100, heat_maps=0),
            ]  # fmt: skip
    yield folder, said
    os.chdir(before[0])
    mlflow.set_tracking_uri(before[1])
    mlflow.set_experiment("tests")


@pytest.fixture(scope="module")
def server(printed):
    """`mlflow ui` on that store."""
    folder, _ = printed
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "ui", "--workers", "1", "-h", "127.0.0.1", "-p", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "ui.log").open("wb") as log:
        ui = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(480):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            time.sleep(0.25)
        else:
            pytest.fail((folder / "ui.log").read_text()[-2000:])
        yield f"http://127.0.0.1:{port}"
    finally:
        server = psutil.Process(ui.pid)
        for process in (*server.children(recursive=True), server):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        ui.wait(30)


@pytest.fixture(scope="module")
def page():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 3000, "height": 900})
        browser.close()


def _newest(stage):
    (run,) = mlflow.search_runs(
        filter_string=f"tags.`ich.stage` = '{stage}'", max_results=1, output_format="list"
    )
    return f"runs:/{run.info.run_id}/serving"


def _printed(stage, **options):
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert (
            launch(stage, [text for name, value in options.items() for text in (f"--{name}", str(value))])
            == 0
        )
    return said.getvalue()


def _opened(page, server, said, *, waits_for):
    """The text of the page behind the link that a command printed, once a text is there."""
    link = re.search(r"http://127\.0\.0\.1:5000(/#\S+)", said).group(1)
    page.goto("about:blank")
    page.goto(f"{server}{link}", wait_until="domcontentloaded", timeout=SHOWN_MS)
    page.get_by_text(waits_for).first.wait_for(timeout=SHOWN_MS)
    page.wait_for_timeout(500)
    return page.inner_text("body")


def test_the_link_of_train_opens_trainings_with_their_names_and_validation_figures(printed, server, page):
    text = _opened(
        page, server, printed[1]["west"][0], waits_for="train reference · 5 classes · west · b0 32"
    )
    for place in PLACES:
        assert f"train reference · 5 classes · {place} · b0 32" in text
    for column in ("any_auc_val", "auc_macro_val", "any_exam_auc_val", "hp.recipe", "hp.num_classes"):
        assert column in text
    assert "train: what was told, what validation says" in text
    assert "evaluate run" not in text
    run = mlflow.search_runs(filter_string="tags.`ich.stage` = 'train'", max_results=1, output_format="list")[
        0
    ]
    assert f"{run.data.metrics['any_auc_val']:g}" in text


def test_the_link_of_evaluate_opens_test_figures_with_intervals(printed, server, page):
    text = _opened(page, server, printed[1]["west"][1], waits_for="on west")
    # 12 patients are too few for the ends of an interval
    for column in ("any_auc", "any_sensitivity", "any_specificity", "auc_macro", "f1_macro", "ich.model_uri"):
        assert column in text
    assert all(f"on {place}" in text for place in PLACES)
    assert "train reference" not in text


def test_the_page_of_models_compares_them_by_data_set(printed, server, page):
    experiment = mlflow.get_experiment_by_name("seen in a browser").experiment_id
    page.goto("about:blank")
    page.goto(
        f"{server}/#/experiments/{experiment}/models?workflowType=machine_learning",
        wait_until="domcontentloaded",
        timeout=SHOWN_MS,
    )
    page.get_by_text("ich-5class-keras").first.wait_for(timeout=SHOWN_MS)
    page.wait_for_timeout(1000)
    text = page.inner_text("body")
    assert "ich-5class\n" in text
    assert re.search(r"Dataset:\s+(north|south|west)-test", text)
    assert "any_auc" in text


def test_a_runs_page_opens_with_its_description(printed, server, page):
    run = mlflow.search_runs(
        filter_string="tags.`ich.stage` = 'evaluate'", max_results=1, output_format="list"
    )[0]
    page.goto("about:blank")
    page.goto(
        f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning",
        wait_until="domcontentloaded",
        timeout=SHOWN_MS,
    )
    page.get_by_text("Next", exact=True).first.wait_for(timeout=SHOWN_MS)
    text = page.inner_text("body")
    assert "Test split" in text
    assert "any bleed: AUC" in text
    assert "mlflow run . -e promote" in text
