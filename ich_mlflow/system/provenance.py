"""Who made a result, with which code and which versions."""

import getpass
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ich_mlflow import __version__

#: Packages whose version can change a figure.
PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "opencv-python-headless",
    "scikit-learn",
    "mlflow",
    "pydicom",
)


def git_commit() -> str:
    """The commit that the package's folder stands at, with `-dirty` where files differ; `unknown` without git."""
    said = _git("rev-parse", "HEAD")
    if said is None:
        return "unknown"
    return f"{said}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else said


def who() -> str:
    """Who works here: git's user.name and user.email, else the account's name."""
    name, email = _git("config", "user.name"), _git("config", "user.email")
    if name or email:
        return " ".join(part for part in (name, f"<{email}>" if email else "") if part)
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of this project, of Python and of what computes, by name."""
    found = {"ich_mlflow": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
