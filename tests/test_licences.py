"""The default install holds no package under the GPL: who hands it on is bound by permissive licences only."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
#: Under the LGPL: whoever hands these on must keep its conditions for them, but not for programs that import them.
LGPL = {"psycopg", "psycopg-binary"}


def copyleft(expression: str | None, licence: str | None, classifiers: list[str]) -> str:
    """GPL, LGPL or '': what a distribution declares of itself. Of a long License text, which may list what is bundled,
    the first line. The GPL's exception for the run-time libraries of GCC is not the GPL."""
    lines = [expression or "", *(licence or "").strip().splitlines()[:1], *classifiers]
    said = re.sub(r"GPL\S* WITH GCC-exception\S*", "", "\n".join(lines))
    if re.search(r"(?<!L)GPL|(?<!Lesser )(?<!Library )General Public License", said):
        return "GPL"
    return "LGPL" if re.search(r"LGPL|(Lesser|Library) General Public License", said) else ""


def closure() -> dict[str, str]:
    """What requirements.txt installs here, with what each package declares."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    todo, found = [Requirement(line) for line in lines if not line.startswith("#")], {}
    done = set()
    while todo:
        wanted = todo.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        extras = {"", *wanted.extras}
        here = wanted.marker is None or wanted.marker.evaluate()
        if not here or (name, *sorted(extras)) in done:
            continue
        done.add((name, *sorted(extras)))
        package = distribution(wanted.name)
        classifiers = package.metadata.get_all("Classifier") or []
        found[name] = copyleft(
            package.metadata.get("License-Expression"),
            package.metadata.get("License"),
            [line for line in classifiers if line.startswith("License")],
        )
        for line in package.requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                needed.marker = None
                todo.append(needed)
    return found


def test_no_package_of_the_default_install_declares_the_gpl_and_those_of_the_lgpl_are_known():
    found = closure()
    assert len(found) > 100
    assert {"imagecodecs", "pylibjpeg-openjpeg", "sqlalchemy"} <= set(found)  # ours, and what MLflow brings
    assert {name for name, declared in found.items() if declared == "GPL"} == set()
    assert {name for name, declared in found.items() if declared == "LGPL"} == LGPL


@pytest.mark.parametrize(
    ("expression", "licence", "classifiers", "declared"),
    [
        (None, "GPL V3.0", [], "GPL"),
        (None, None, ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"], "GPL"),
        ("AGPL-3.0-only", None, [], "GPL"),
        ("LGPL-3.0-only", None, [], "LGPL"),
        (None, None, ["License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"], "LGPL"),
        ("BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1", None, [], ""),
        (None, "BSD\n\nbundled: License: GPL-3.0-or-later WITH GCC-exception-3.1", [], ""),
        ("MIT", None, ["License :: OSI Approved :: MIT License"], ""),
    ],
)
def test_what_a_package_declares_is_understood(expression, licence, classifiers, declared):
    assert copyleft(expression, licence, classifiers) == declared
