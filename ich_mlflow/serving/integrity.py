"""Whether a model version's files are those that were logged, and whether its networks still say what they said.

A damaged file must not answer: 2,000 flipped bits of a network can make every decision negative.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.errors import ModelError
from ich_mlflow.system.whole import write_whole

INTEGRITY_FILE = "integrity.json"
_FILES, _SAID = "sha256", "said_of_known_slice"
#: How far an answer on the known slice may be from the logged one: other processors round differently, a runtime
#: may differ by packaging.PARITY_TOLERANCE, and a sure network amplifies both.
TOLERANCE = 5e-3
_BLOCK = 1 << 20


def known_slice() -> np.ndarray:
    """HU int16 [256, 256] that is the same everywhere: a skull around brain, with a dense spot and a dense rim."""
    y, x = np.mgrid[:STORED_SIZE, :STORED_SIZE] - (STORED_SIZE - 1) / 2
    radius = np.hypot(x / 0.8, y)
    hu = np.full((STORED_SIZE, STORED_SIZE), -1000, np.int16)
    hu[radius < 112] = 40
    hu[radius < 106] = 900
    hu[radius < 100] = 34
    hu[(radius < 100) & (radius > 92) & (x > 0)] = 68
    hu[np.hypot(x / 0.4, y) < 20] = 8
    hu[np.hypot(x + 34, y - 10) < 14] = 72
    return hu


def seal(folder: Path, said: Mapping[str, float]) -> None:
    """Note the SHA-256 of every file in the folder, and what is said of known_slice(), by label."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != INTEGRITY_FILE
    }
    write_whole(folder / INTEGRITY_FILE, json.dumps({_FILES: files, _SAID: dict(said)}, indent=2) + "\n")


def expect_whole(folder: Path) -> dict[str, float]:
    """What seal noted that is said of known_slice(); {} where nothing was noted, as by 0.1.

    Raises ModelError where a file is missing or is not as it was logged.
    """
    path = folder / INTEGRITY_FILE
    if not path.is_file():
        return {}
    noted = _noted(path)
    for name, digest in noted[_FILES].items():
        if not (folder / name).is_file():
            raise ModelError(f"{name} of this model version is missing: {_MEND}")
        if sha256_of(folder / name) != digest:
            raise ModelError(
                f"{name} of this model version is not as it was logged (SHA-256 differs): {_MEND}"
            )
    return {str(label): float(value) for label, value in noted[_SAID].items()}


def expect_said(noted: Mapping[str, float], said: Mapping[str, float]) -> None:
    """Raise ModelError where what is said of known_slice() is not what was noted of it, label by label."""
    if not noted:
        return
    if set(noted) != set(said):
        raise ModelError(
            f"this model version has the labels {', '.join(said)}, and was logged with {', '.join(noted)}: {_MEND}"
        )
    label = max(noted, key=lambda one: abs(noted[one] - said[one]))
    if not abs(noted[label] - said[label]) <= TOLERANCE:
        raise ModelError(
            f"this model version gives {said[label]:.4f} for {label} on a known slice, and gave "
            f"{noted[label]:.4f} when it was logged: {_MEND}"
        )


_MEND = "its files are damaged or were changed, fetch or register it again, or train it again"


def _noted(path: Path) -> dict[str, Any]:
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(noted[_FILES], dict) and isinstance(noted[_SAID], dict):
            return dict(noted)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ModelError(f"{INTEGRITY_FILE} of this model version can't be read: {_MEND}")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
