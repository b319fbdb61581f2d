"""Walk a page of docs/adding: apply its snippets to a copy of the package, and run Python on the copy.

Of a page two kinds of fenced snippets are applied, in their order; all others are for reading.

```diff     changes a file: `--- a/<path>`, `+++ b/<path>`, then hunks that begin with `@@`. A hunk has no numbers: its
            lines that begin with a blank or `-` must stand in the file together, exactly once.
```python   makes a new file, where the first line is the comment `# <path>`.

Paths are from the repository's root. Other files than the package's are copied where a snippet names them.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PACKAGE = "ich_mlflow"
_SNIPPET = re.compile(r"^```(diff|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def walked(page: str, folder: Path) -> Path:
    """Copy the package to the folder and apply the snippets of docs/adding/<page> to it; return the folder.

    Raises ValueError where a snippet does not fit, or the page has none.
    """
    shutil.copytree(ROOT / _PACKAGE, folder / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "docs" / "adding" / page).read_text(encoding="utf-8")
    applied = [_APPLY[kind](snippet, folder, page) for kind, snippet in _SNIPPET.findall(text)]
    if not any(applied):
        raise ValueError(
            f"{page} has no snippet that changes a file, expected ```diff or ```python with a path"
        )
    return folder


def python(folder: Path, code: str) -> str:
    """What Python code prints that imports the package from the folder. Raises AssertionError where it fails."""
    # what other tests of the process have told MLflow is not for a copy with a store of its own
    own = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment = {**own, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _apply_diff(snippet: str, folder: Path, page: str) -> bool:
    head, *hunks = re.split(r"^@@.*\n", snippet, flags=re.MULTILINE)
    named = re.fullmatch(r"--- a/(\S+)\n\+\+\+ b/\1\n", head)
    if named is None or not hunks:
        raise ValueError(f"a diff of {page} begins with {head!r}, expected --- a/<path>, +++ b/<path> and @@")
    path = folder / named[1]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / named[1], path)
    text = path.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = [line or " " for line in hunk.splitlines()]  # an editor strips the blank of an empty line
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
        count = f"\n{text}".count(f"\n{before}")
        if not before or count != 1:
            raise ValueError(f"a hunk of {page} stands {count} times in {named[1]}, expected once:\n{before}")
        text = f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]
    path.write_text(text, encoding="utf-8")
    return True


def _make_file(snippet: str, folder: Path, page: str) -> bool:
    named = re.match(r"# (\S+/\S+\.py)\n", snippet)
    if named is None:
        return False
    path = folder / named[1]
    if path.exists():
        raise ValueError(f"{page} makes {named[1]}, which is there already: expected a diff")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(snippet[named.end() :], encoding="utf-8")
    return True


_APPLY = {"diff": _apply_diff, "python": _make_file}
