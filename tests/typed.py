"""Commands as people type them, read without being run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer

from poisonsets.cli.main import app


def leaves(command: Any = None) -> Iterator[Any]:
    command = typer.main.get_command(app) if command is None else command
    inner = getattr(command, "commands", None)
    if inner is None:
        yield command
    for one in (inner or {}).values():
        yield from leaves(one)


def refuse_unparsed(line: str) -> None:
    """Read a command as the command line does, without running it; fail where it does not."""
    program, *words = shlex.split(line)
    assert program == "poisonsets"
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if words == ["--help"]:  # of a group of commands
            return
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    if words != ["--help"]:
        command.make_context(line, words)
