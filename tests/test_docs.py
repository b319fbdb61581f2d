"""README and docs: every command is one that what it calls takes, and every link leads somewhere.

Commands are parsed and not run. They are those of the shell blocks, and those that a page quotes in a line.
"""

import re
import shlex
import tomllib
from contextlib import suppress
from itertools import count
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from ich_mlflow.cli import options_of, parse
from tests.printed import check_mlflow

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
)
#: Decisions and changes say what was: a link has to hold there, a command or a path need not.
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "decisions"]
#: What stands for something that the reader puts in: each as a value that could stand there.
STANDS_FOR = {
    "<the stored set>": "data/set", "<uri>": "sqlite:///mlflow.db", "<stage>": "preprocess",
    "<id>": "1", "<name>": "ich-5class", "<version>": "1", "<old mlruns>": "a", "<new mlruns>": "b",
    " -P name=value": " -P seed=1", " --name value": " --seed 1",
}  # fmt: skip

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^(?: {4}|\t).*\n?)+", re.MULTILINE)
_QUOTED = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(
    r"(?:docs|benchmarks|tests|ich_mlflow|ich_mlflow_plugin|entrypoints)/[\w./-]*\w\.(?:md|py|conf|png)"
)
_BEGINS = re.compile(
    r"(?<!\S)(?:(?:mlflow|ich-mlflow|make)(?!\S)|python (?:-m )?(?:benchmarks|entrypoints|ich_mlflow)\b)"
)
_SEPARATORS = {"&&", "||", "|", ";", "&"}
_SETS_VARIABLE = re.compile(r"[A-Z_]+=.*")


def _prose(text: str) -> str:
    """A page without its blocks of code."""
    return _FENCED.sub("", text)


def commands_of(page: str) -> list[list[str]]:
    """The commands of a page's blocks, as words, each known by how it begins; all others, as curl's, are left out."""
    texts = [body for _, kind, body in _FENCED.findall(page) if kind == "sh"]
    texts += _INDENTED.findall(_prose(page))
    lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
    return [words for line in lines for words in _commands_in(line.strip())]


def quoted_commands_of(page: str) -> list[list[str]]:
    """The same of what is quoted in its sentences."""
    lines = [re.sub(r"\s+", " ", quoted) for quoted in _QUOTED.findall(_prose(page))]
    return [words for line in lines for words in _commands_in(line)]


def _commands_in(line: str) -> list[list[str]]:
    number = count()
    line = re.sub("<run id>", lambda _: f"{next(number):032x}", line)
    for name, value in STANDS_FOR.items():
        line = line.replace(name, value)
    if not _BEGINS.search(line):
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # one line of a quote over several, which holds no command of ours
        return []
    commands: list[list[str]] = [[]]
    for word in words:
        if word in _SEPARATORS:
            commands.append([])
        elif commands[-1] or not _SETS_VARIABLE.fullmatch(word):
            commands[-1].append(word)
    return [_as_typed(words) for words in commands if words and _BEGINS.match(" ".join(words))]


def _as_typed(words: list[str]) -> list[str]:
    """Without `…`, which leaves the rest open, but as a value, which the reader puts in."""
    pairs = zip(["", *words], words, strict=False)
    return [word for before, word in pairs if word != "…" or before.startswith("--")]


def check(words: list[str]) -> None:
    """Raise what says why the command can't be typed."""
    if words[0] == "mlflow":
        check_mlflow(words)
    elif words[0] == "ich-mlflow":
        _check_stage(words[1], words[2:])
    elif words[0] == "make":
        for target in words[1:]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    elif words[1] == "-m" and words[2].startswith("entrypoints."):
        _check_stage(words[2].removeprefix("entrypoints."), words[3:])
    else:
        module = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
        _check_script(ROOT / module, words[2:])


def _check_stage(stage: str, arguments: list[str]) -> None:
    """stage: or --help, which every stage takes too."""
    if "--help" not in (stage, *arguments):
        parse(options_of(stage), arguments)


def _check_script(path: Path, words: list[str]) -> None:
    source = path.read_text(encoding="utf-8")
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        assert f'"{flag}"' in source, f"{path.name} has no {flag}"


def heading_anchors(page: str) -> set[str]:
    """What #… can name on a page, as GitHub makes it of its headings."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        again = sum(
            known == anchor or bool(re.fullmatch(rf"{re.escape(anchor)}-\d+", known)) for known in anchors
        )
        anchors.add(f"{anchor}-{again}" if again else anchor)
    return anchors


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PRESENT, ids=_name)
def test_every_command_of_a_page_is_taken_by_what_it_calls(page):
    text, wrong = page.read_text(encoding="utf-8"), []
    typed, quoted = commands_of(text), quoted_commands_of(text)
    for words in typed + quoted:
        # what is quoted may be no more than a command's name
        left_out = () if words in typed else (click.MissingParameter,)
        try:
            with suppress(*left_out):
                check(words)
        except Exception as error:
            wrong.append(f"{shlex.join(words)}: {type(error).__name__}: {error}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_of_a_page_leads_to_a_file_and_its_heading(page):
    broken = []
    for link in _LINK.findall(_prose(page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", link):
            continue
        place, _, anchor = unquote(link).partition("#")
        target = (page.parent / place).resolve() if place else page
        found = target.exists() and target.is_relative_to(ROOT)
        if not found or (anchor and anchor not in heading_anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PRESENT, ids=_name)
def test_every_file_that_a_page_names_is_there(page):
    made = re.findall(r"^(?:# |\+\+\+ b/)(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    named = [
        path
        for quoted in _QUOTED.findall(_prose(page.read_text(encoding="utf-8")))
        for path in _PATH.findall(quoted)
    ]
    assert [path for path in named if path not in made and not (ROOT / path).exists()] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions"}
    assert pages - linked == {ROOT / "docs" / "README.md"}


def test_every_extra_that_a_page_installs_is_the_projects():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    named = {
        extra for page in PAGES for extra in re.findall(r"-e '\.\[(\w+)\]'", page.read_text(encoding="utf-8"))
    }
    assert named == extras.keys()


def test_commands_are_found_where_they_stand():
    page = (
        "Say `mlflow run . -e train …` or\n\n    make demo\n\n```sh\n"
        "A=1 mlflow run . -e tune -P 'loss=bce|focal' \\\n    -P trials=3   # twice\n"
        "git pull && python -m benchmarks.load --each | tee log\ncurl -d '{}' x\n```\n"
        "```python\nmlflow.pyfunc\n```\n"
    )
    assert commands_of(page) == [
        ["mlflow", "run", ".", "-e", "tune", "-P", "loss=bce|focal", "-P", "trials=3"],
        ["python", "-m", "benchmarks.load", "--each"],
        ["make", "demo"],
    ]
    assert quoted_commands_of(page) == [["mlflow", "run", ".", "-e", "train"]]


@pytest.mark.parametrize(
    "wrong",
    [
        "mlflow run . -e trian",
        "mlflow run . -e train -P folds_=3",
        "ich-mlflow predict --pictures 99",
        "python -m entrypoints.train --learning_rate 2",
        "python benchmarks/ladder.py --dta x",
        "python -m benchmarks.ladders",
        "make tea",
        "mlflow models serv -m x",
    ],
)
def test_a_command_that_nothing_takes_is_found_out(wrong):
    (words,) = commands_of(f"```sh\n{wrong}\n```\n")
    with pytest.raises(Exception, match=r"."):
        check(words)


def test_anchors_are_githubs():
    page = "# A page\n## What `mlflow models serve` does not do\n## What can't be used\n## Again\n## Again\n"
    assert heading_anchors(f"{page}```sh\n# no\n```\n") == {
        "a-page", "what-mlflow-models-serve-does-not-do", "what-cant-be-used", "again", "again-1"
    }  # fmt: skip
