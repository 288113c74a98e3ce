"""Options that several commands share: how they are spelled, parsed and refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from poisonsets.manifests.errors import UsageError

BaseName = Annotated[str, typer.Option("--base", help="A base of `base list`, or digits.")]
PinnedBase = Annotated[
    str | None, typer.Option("--base", help="The base. Default: the one in the cache that the set pins.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress bar.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes to work with.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with unfinished output of the same command.")]


Choice = TypeVar("Choice", bound=str)


def cache_folder() -> Path:
    """Where bases and default networks are kept: POISONSETS_CACHE, or poisonsets in the user's cache folder."""
    if named := os.environ.get("POISONSETS_CACHE"):
        return Path(named)
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "poisonsets"


def levels(text: str) -> int:
    """An epsilon in whole levels.

    Raises:
        UsageError: it is not a whole number in 1..255.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= 255:
        raise UsageError(f"--epsilon {text}: not a whole number of levels in 1..255", "8 means 8/255")
    return int(text)


def choice(option: str, given: str | None, known: tuple[Choice, ...]) -> Choice | None:
    """One of a few words; None where the option was left out.

    Raises:
        UsageError: it is another word.
    """
    found = next((word for word in known if word == given), None)
    if given is not None and found is None:
        raise UsageError(f"{option} {given}: not {', '.join(known[:-1])} or {known[-1]}")
    return found


def part(text: str) -> tuple[int, int]:
    """A share of work `I/N`, 1-based as typed, as (I - 1, N).

    Raises:
        UsageError: it is spelled otherwise, or there is no such part.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: no part of a whole", "Write 1/4 to 4/4")
    return int(match[1]) - 1, int(match[2])


def pair(text: str) -> tuple[int, int]:
    """A class pair `ADVERSARIAL:TARGET`.

    Raises:
        UsageError: it is spelled otherwise.
    """
    match = re.fullmatch(r"([0-9]{1,6}):([0-9]{1,6})", text)
    if match is None:
        raise UsageError(
            f"--class-pair {text}: not two class numbers", "Write adversarial class, colon, target class: 6:0"
        )
    return int(match[1]), int(match[2])
