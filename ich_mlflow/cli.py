"""Option dataclasses to a command line, and a user's mistake to one line."""

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from itertools import pairwise
from typing import Any, NoReturn, TypeVar

from ich_mlflow.errors import IchError, OptionError
from ich_mlflow.quiet import native_stderr_muted

Options = TypeVar("Options")
_TYPES = {"int": int, "float": float, "str": str, int: int, float: float, str: str}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}: see {self.prog} --help")


def parse(options_class: type[Options], arguments: Sequence[str]) -> Options:
    """Options of the class from `--name value` pairs, as `mlflow run` passes them.

    Raises OptionError for an unknown flag, a value of the wrong type, or one the class refuses.
    """
    parser = _Parser(
        description=inspect.cleandoc(options_class.__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Research software, not a medical device.",
        allow_abbrev=False,
    )
    for field in fields(options_class):  # type: ignore[arg-type]
        assert field.default is not MISSING
        parser.add_argument(
            f"--{field.name}",
            type=_TYPES[field.type],
            default=field.default,
            metavar=field.name.upper(),
            help=f"{field.metadata['help']} (default: {field.default})",
        )
    _refuse_empty(arguments, {field.name: field.default for field in fields(options_class)})  # type: ignore[arg-type]
    return options_class(**vars(parser.parse_args(arguments)))


def _refuse_empty(arguments: Sequence[str], defaults: Mapping[str, Any]) -> None:
    """An empty value is none: `-P input=$UNSET` must not become the folder we are in."""
    for flag, value in pairwise([part for text in arguments for part in text.split("=", 1)]):
        name = flag.removeprefix("--")
        if flag.startswith("--") and name in defaults and not value.strip():
            raise OptionError(
                f"{name} is empty, expected a value (the default is {defaults[name]}): pass -P {name}=<value> or "
                "leave it out"
            )


def launch(options_class: type, workflow: str) -> int:
    """Parse sys.argv, call `module:function` with the options, and return the exit code.

    The workflow is imported after parsing, so that --help needs neither MLflow nor TensorFlow. An IchError
    becomes one line on stderr and its exit code, mostly 1; Ctrl-C becomes 130.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        options: Any = parse(options_class, sys.argv[1:])
        module, function = workflow.split(":")
        with native_stderr_muted():
            call: Any = getattr(importlib.import_module(module), function)
        call(options)
    except IchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0
