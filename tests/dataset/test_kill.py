"""kill -9 in the middle: nothing is lost, nobody is left behind, and the result is the same to the bit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.sources.rsna import RsnaSource
from tests.factories import write_rsna

SCRIPT = """
import sys
from pathlib import Path
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.sources.rsna import RsnaSource
if __name__ == "__main__":
    options = BuildOptions(seed=1, workers=int(sys.argv[3]))
    build_stored_set(RsnaSource(sys.argv[1]), Path(sys.argv[2]), options, progress=False)
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """1,280 slices of 128 patients: 32 shards of 40."""
    return write_rsna(tmp_path_factory.mktemp("kill") / "rsna", num_patients=128, slices_per_patient=10)


def start(folder, cohort, out, workers) -> subprocess.Popen:
    script = folder / "build.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.getcwd() + os.pathsep + os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(cohort), str(out), str(workers)]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def journals(out) -> int:
    return len(list(out.with_name(out.name + ".partial").glob("journal/*.parquet")))


def members(group: int) -> list[str]:
    """The processes of a group that are still alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
            found += [stat.parent.name] if int(its_group) == group and state != "Z" else []
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_to_the_same_set_bit_by_bit(tmp_path, cohort, workers):
    out = tmp_path / "set"
    process = start(tmp_path, cohort, out, workers)
    deadline = time.monotonic() + 120
    while journals(out) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)  # the parent alone: its processes must notice
    process.wait()
    assert 3 <= journals(out) < 32, "it was to be killed in the middle"
    assert not out.exists()
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not members(process.pid)

    said = []
    options = BuildOptions(seed=1, workers=1)
    build_stored_set(RsnaSource(str(cohort)), out, options, progress=False, say=said.append)
    assert "are there from an earlier run" in said[0]
    build_stored_set(RsnaSource(str(cohort)), tmp_path / "other", options, progress=False)
    names = sorted(path.name for path in (tmp_path / "other").iterdir())
    assert names == sorted(path.name for path in out.iterdir())
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name
