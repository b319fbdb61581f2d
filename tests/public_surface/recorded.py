"""Recorded expectations: JSON beside the tests, and what may differ from it on another machine."""

import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).with_name("recorded")
RECORDS = os.environ.get("RECORD_SURFACE") == "1"
#: Another processor, or another release of what computes, may round otherwise: then this much is allowed.
TOLERANCE = 1e-6


def read(name: str) -> Any:
    """What was recorded under that name."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


_LABEL = r"(epidural|intraparenchymal|intraventricular|subarachnoid|subdural)$"


def expect(name: str, now: Any) -> None:
    """Fail where `now`, as JSON has it, is not what was recorded."""
    if RECORDS:
        _write(name, now)
    assert json.loads(json.dumps(now)) == read(name), f"recorded/{name}.json"


def expect_names(name: str, now: dict[str, list[str]]) -> None:
    """Fail where a name that was recorded is gone. What has come since, as a metric more, is no fault.

    Labels are all alike: which of them can be told depends on the network.
    """
    if RECORDS:
        _write(name, now)
    gone = {kind: sorted(_kinds(names) - _kinds(now[kind])) for kind, names in read(name).items()}
    assert not any(gone.values()), f"recorded/{name}.json has also {gone}"


def _kinds(names: list[str]) -> set[str]:
    # MLflow's own of the machine come every ten seconds: a quicker training has none
    return {re.sub(_LABEL, "<label>", name) for name in names if not name.startswith("system/")}


def expect_bits(name: str, now: dict[str, list[float]], *, tolerance: float = TOLERANCE) -> None:
    """Fail where a float differs from the recorded one: in any bit on the machine that recorded it, elsewhere by more.

    now: lists of floats by name.
    """
    if RECORDS:
        as_hex = {key: [float(value).hex() for value in values] for key, values in now.items()}
        _write(name, {"machine": machine(), "values": as_hex})
    recorded = read(name)
    expected = {key: [float.fromhex(one) for one in values] for key, values in recorded["values"].items()}
    assert now.keys() == expected.keys()
    exact = is_recorded_on_this_machine(name)
    for key, values in now.items():
        if exact:
            assert [float(value) for value in values] == expected[key], f"{key} in recorded/{name}.json"
        else:
            assert values == pytest.approx(expected[key], abs=tolerance), f"{key} in recorded/{name}.json"


def is_recorded_on_this_machine(name: str) -> bool:
    """Whether bits may be asked for: the same processor, cores and releases of what computes."""
    return bool(read(name)["machine"] == machine())


def machine() -> dict[str, Any]:
    """What the last bit of a result depends on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in ("ai-edge-litert", "keras", "numpy", "tensorflow")},
    }


def names_in(value: Any) -> Any:
    """The keys of nested JSON, without its values; a list counts as all its elements, one over the other."""
    if isinstance(value, dict):
        return {key: names_in(one) for key, one in value.items()}
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        for one in value:
            if isinstance(one, dict):
                merged |= names_in(one)
        return [merged] if merged else []
    return None


def floats(values: Any) -> list[float]:
    """A flat list of an array's elements."""
    return np.asarray(values, dtype=np.float64).ravel().tolist()


def _processor() -> str:
    """The processor's name and its instructions, which decide what a library computes with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in said.items()}
    vectors = [flag for flag in known.get("flags", "").split() if flag.startswith(("avx", "fma", "amx"))]
    return f"{known.get('model name', platform.machine())}: {' '.join(sorted(vectors))}"


def _write(name: str, value: Any) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
