"""The one place where these tests touch the package's modules; all else goes through commands and what they log."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ich_mlflow.errors import IchError
from ich_mlflow.serving.packaging import load_classifier

ROOT = Path(__file__).parents[2]
STAGES = (
    "main", "preprocess", "train", "tune", "evaluate", "predict", "promote", "pretrain", "demonstrate",
)  # fmt: skip
__all__ = ["ROOT", "STAGES", "IchError", "command", "newest_run", "probabilities", "run_stage", "start"]


def start(stage: str, *arguments: str, folder: Path) -> subprocess.Popen[str]:
    """`python -m entrypoints.<stage>` in a process of its own, in that folder."""
    # One line a help text: argparse breaks lines where the terminal ends.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "10000"}
    return subprocess.Popen(
        [sys.executable, "-m", f"entrypoints.{stage}", *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Tests that run in the background of a shell have Ctrl-C ignored, and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def command(stage: str, *arguments: str, folder: Path) -> tuple[int, str, str]:
    """Exit code, output and errors of the same."""
    process = start(stage, *arguments, folder=folder)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def run_stage(monkeypatch: pytest.MonkeyPatch, stage: str, **options: object) -> int:
    """The exit code of the same in this process, which spares a start of TensorFlow."""
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", [stage, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"entrypoints.{stage}", run_name="__main__")
    return int(ended.value.code or 0)


def newest_run(stage: str) -> mlflow.entities.Run:
    """The run of that stage which was started last."""
    (run,) = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"tags.`ich.stage` = '{stage}'", max_results=1,
        order_by=["attributes.start_time DESC"], output_format="list",
    )  # fmt: skip
    return run


def probabilities(model_uri: str, hu: np.ndarray) -> np.ndarray:
    """The network's own probabilities of HU [N, 256, 256], read as evaluate, promote and predict read a model.

    Raises IchError where the model can't be read.
    """
    return load_classifier(model_uri).uncalibrated(hu)
