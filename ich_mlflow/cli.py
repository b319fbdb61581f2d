"""Option dataclasses to a command line, and a user's mistake to one line."""

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
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
            # argparse formats help by %, and a per cent sign in a sentence is none of its
            help=f"{field.metadata['help']} (default: {field.default})".replace("%", "%%"),
        )
    return options_class(**vars(parser.parse_args(arguments)))


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
