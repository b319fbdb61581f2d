"""Commands that a stage prints for the user to type, each held to what its stage, or MLflow, accepts."""

import re
import runpy
import shlex
import sys
from unittest import mock

import click
import mlflow.cli
import pytest

from ich_mlflow import cli

_WORD = r"""(?:'[^']*'|"[^"]*"|[^\s'"<])+"""
_COMMAND = re.compile(
    rf"mlflow (?:run \.(?: -e \w+)?(?: -P {_WORD})*|(?:models serve|ui)(?: --?\w[\w-]* {_WORD})*)"
)


def printed_commands(text: str) -> list[str]:
    """Every mlflow command in the text, as it would be typed."""
    return _COMMAND.findall(text)


def check_printed_commands(text: str) -> list[list[str]]:
    """Have every command in the text parsed by what it calls, and run none; return their words."""
    commands = [shlex.split(command) for command in printed_commands(text)]
    for words in commands:
        check_mlflow(words)
    return commands


def check_mlflow(words: list[str]) -> None:
    """Have a command, `mlflow …`, parsed by what it calls. Raises what that raises."""
    if words[1] == "run":
        _parse_stage(words[2:])
        return
    command = mlflow.cli.cli
    while words[1:] and hasattr(command, "commands"):
        name, command, words = words[1], command.get_command(None, words[1]), words[1:]
        if command is None:
            raise click.UsageError(f"mlflow has no command {name}")
    command.make_context(words[0], words[1:])


def _parse_stage(words: list[str]) -> None:
    """words: `. -e train -P a=b …`. The stage's own entry point is run, but for the stage."""
    stage = words[words.index("-e") + 1] if "-e" in words else "main"
    pairs = [words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "-P"]
    arguments = [part for name, value in pairs for part in (f"--{name}", value)]

    def parse_only(stage: str) -> int:
        cli.parse(cli.options_of(stage), arguments)
        return 0

    with (
        mock.patch.object(cli, "launch", parse_only),
        mock.patch.object(sys, "argv", [stage]),
        pytest.raises(SystemExit, match=r"^0$"),
    ):
        runpy.run_module(f"entrypoints.{stage}", run_name="__main__")
