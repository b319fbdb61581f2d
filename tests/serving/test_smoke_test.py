import subprocess
import sys
import time

import psutil
import pytest

from ich_mlflow.serving import smoke_test as smoke

PARENT = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)\n"
)
OBEYS = "import time; print(flush=True); time.sleep(600)"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEYS}"


@pytest.mark.parametrize("child", [OBEYS, IGNORES])
def test_the_server_is_stopped_with_all_that_it_started(monkeypatch, child):
    monkeypatch.setattr(smoke, "_STOP_S", 1.0)
    server = subprocess.Popen([sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE)
    started = psutil.Process(int(server.stdout.readline()))
    smoke._stop(server)
    assert server.poll() is not None
    end = (
        time.monotonic() + 10
    )  # an orphan that was killed is cleared away by the system, which takes a moment
    while started.is_running() and started.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.05)
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    smoke._stop(server)  # that it has ended already is no error


def test_what_the_smoke_test_asks_about_is_not_noted_as_an_exam(monkeypatch):
    started = {}
    monkeypatch.setenv("ICH_MONITOR_DIR", "seen")
    monkeypatch.setattr(smoke.subprocess, "Popen", lambda command, **named: started.update(named["env"]))
    smoke._start("models:/m/1", 5001, 1, 1, {})
    assert started
    assert "ICH_MONITOR_DIR" not in started
