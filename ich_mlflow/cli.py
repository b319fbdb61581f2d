"""Option dataclasses to a command line, and a user's mistake to one line."""

import argparse
import importlib
import inspect
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any, NoReturn, TypeVar

from ich_mlflow.errors import ANSWERED_NO, DataError, IchError, OptionError, nearest
from ich_mlflow.parameters import (
    AUTO,
    declared,
    expect_inputs,
    from_text,
    groups_of,
    parameter,
    parameters_of,
    text_of,
)
from ich_mlflow.system.quiet import native_stderr_muted

Options = TypeVar("Options")
#: The entry points of MLproject: each is a folder of ich_mlflow/stages.
STAGES: dict[str, str] = {
    "preprocess": "turn labelled slices into a stored set",
    "train": "train a model on a stored set and track it in MLflow",
    "tune": "search for better hyperparameters",
    "evaluate": "score a model on patients it has not seen: report and model card",
    "compare": "compare several models on one test split: which is better, and how sure that is",
    "recalibrate": "choose a version's calibration and thresholds anew on your own labelled exams",
    "promote": "make a model the champion, if it passes every gate",
    "predict": "score your own DICOM files and write a worklist",
    "monitor": "tell whether what a deployed model sees has changed",
    "pretrain": "make the weights that come with the package (takes hours)",
    "demonstrate": "register a small model to try at once, without data",
    "main": "run preprocess, train, evaluate and promote in one",
}
#: Loaded by its name, since --help and a mistake in the options need no MLflow.
_STORE, _VIEWS = "ich_mlflow.tracking.store", "ich_mlflow.tracking.views"
#: By ich_mlflow_plugin, which MLflow loads: where `mlflow run` was typed.
_CALLED_FROM = "ICH_MLFLOW_CALLED_FROM"
_EPILOG = "Research software, not a medical device."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}: see {self.prog} --help")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every stage takes beside its own: of its run in MLflow."""

    name: str = parameter(AUTO, "name of the run in MLflow; auto: what tells it apart from others")


def parse(options_class: type[Options], arguments: Sequence[str], *, program: str | None = None) -> Options:
    """Options of the class from `--name value` pairs, as `mlflow run` passes them.

    Raises OptionError for an unknown flag, an empty value, a value of the wrong type, or one the class refuses.
    """
    return parse_both(options_class, arguments, program=program)[0]


def parse_both(
    options_class: type[Options], arguments: Sequence[str], *, program: str | None = None
) -> tuple[Options, RunOptions]:
    """As parse, and what is said of the run."""
    parser = _Parser(
        prog=program,
        usage="%(prog)s --name value …",
        description=inspect.cleandoc(options_class.__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    of_run = parameters_of(RunOptions)
    known = parameters_of(options_class) | of_run
    groups = groups_of(options_class)
    groups[""] += of_run
    for title, names in groups.items():
        group = parser.add_argument_group(title) if title else parser
        for name in names:
            _add(group, known[name])
    found, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse(unknown[0], list(known), parser.prog)
    values = {name: from_text(known[name], text) for name, text in vars(found).items()}
    told = {name: values.pop(name) for name in of_run if name in values}
    return options_class(**values), RunOptions(**told)


def _add(group: "argparse._ActionsContainer", one: "Field[Any]") -> None:
    """Add the flag of a parameter to its group."""
    parameter = declared(one)
    default = parameter.default_said or text_of(one.default)
    group.add_argument(
        f"--{one.name}",
        *([f"--{parameter.formerly}"] if parameter.formerly else []),
        dest=one.name,
        metavar=one.name.upper(),
        default=argparse.SUPPRESS,
        # argparse fills in %(…)s, so that a share of 95 % would be a mistake.
        help=f"{parameter.text} (default: {default})".replace("%", "%%"),
    )


def _refuse(argument: str, known: Sequence[str], program: str) -> NoReturn:
    if not argument.startswith("--"):
        raise OptionError(f"{argument!r} is no parameter, expected --name value pairs: see {program} --help")
    name = argument.removeprefix("--").split("=")[0]
    raise OptionError(
        f"there is no parameter {name}{nearest(name, known)}: expected one of those that {program} --help lists"
    )


def launch(stage: str, arguments: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Parse the arguments (sys.argv's), run the stage of that name, and return the exit code.

    The stage is imported after parsing, so that --help and a mistake in the options need neither MLflow nor TensorFlow.
    An IchError becomes one line on stderr and its exit code, mostly 1, and so does what MLflow's store can't do; Ctrl-C
    becomes 130. A mistake in code keeps its traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    arguments = sys.argv[1:] if arguments is None else arguments
    home = f"ich_mlflow.stages.{stage}"
    try:
        _go_to_caller()
        command = program or f"python -m entrypoints.{stage}"
        options, of_run = parse_both(options_of(stage), arguments, program=command)
        expect_inputs(options)
        if hasattr(options, "expect_ready"):
            options.expect_ready()
        importlib.import_module(_STORE).expect_store(stage)
        with native_stderr_muted():
            run: Any = getattr(importlib.import_module(f"{home}.{stage}"), stage)
            tracking = importlib.import_module("ich_mlflow.tracking.run")
        with tracking.run_named("" if of_run.name == AUTO else of_run.name):
            run(options)
        _say_where(importlib.import_module(_VIEWS))
    except IchError as error:
        if error.exit_code == ANSWERED_NO:
            _say_where(importlib.import_module(_VIEWS))
        print(f"error: {as_typed(str(error), program)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except Exception as error:
        said = _of_store(error)
        if said is None:  # a mistake of ours
            raise
        print(f"error: {said}", file=sys.stderr)
        return 1
    return 0


def as_typed(message: str, program: str | None) -> str:
    """The message with parameters as they are typed after `ich-mlflow`: `--name value` for `-P name=value`.

    It stays as it is where a command of `mlflow run` is in it. program: None where that, or the entry point, was typed.
    """
    if program is None or "mlflow run" in message:
        return message
    return re.sub(r"-P (\w+)=", r"--\1 ", message)


def _say_where(views: Any) -> None:
    """Print where what was done can be looked at; a command that only lists has no run."""
    said = views.last_run_said()
    if said:
        print(said)


def _go_to_caller() -> None:
    """`mlflow run` starts a command in the project's folder: relative paths are of the one in which it was typed."""
    folder = os.environ.pop(_CALLED_FROM, None)
    if folder is None:
        return
    try:
        os.chdir(folder)
    except OSError as error:
        raise DataError(
            f"{folder}, where the command was typed, can't be entered ({error.strerror}): type it in another folder"
        ) from None


def _of_store(error: Exception) -> str | None:
    """What MLflow's store says, in one line; None of any other error."""
    if _STORE not in sys.modules:  # it failed before a store was asked anything
        return None
    said: str | None = sys.modules[_STORE].in_one_line(error)
    return said


def options_of(stage: str) -> type[Any]:
    """The class of what a stage takes."""
    options: type[Any] = getattr(
        importlib.import_module(f"ich_mlflow.stages.{stage}.options"), f"{stage.capitalize()}Options"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """`ich-mlflow <stage> --name value …`, the command of an installed package; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, STAGES))
        stages = "\n".join(f"  {name:<{width}}  {text}" for name, text in STAGES.items())
        print(
            f"usage: ich-mlflow STAGE --name value …\n\nstages:\n{stages}\n\nich-mlflow STAGE --help explains the "
            f"parameters of one.\n{_EPILOG}"
        )
        return 0
    stage = arguments[0]
    if stage not in STAGES:
        print(
            f"error: there is no stage {stage!r}{nearest(stage, STAGES)}: expected one of {', '.join(STAGES)}",
            file=sys.stderr,
        )
        return 1
    return launch(stage, arguments[1:], program=f"ich-mlflow {stage}")


if __name__ == "__main__":
    sys.exit(main())
