"""The options of the commands: their types, how their values are parsed, and the groups that `--help` shows them in.

A parser is called with what was typed, or with a default that is a value already. What depends on the base, classes
above all, is parsed where the base is open (`classes.py`).
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar

import typer

from poisonsets.cli.listings import names
from poisonsets.manifests import limits, spelling
from poisonsets.manifests.errors import UsageError

# An option in a group of `--help`: `Annotated[int, in_budget(min=1, help="...")]`.
in_what = partial(typer.Option, rich_help_panel="What")
in_trials = partial(typer.Option, rich_help_panel="Trials")
in_budget = partial(typer.Option, rich_help_panel="Budget")
in_trigger = partial(typer.Option, rich_help_panel="Trigger")
in_networks = partial(typer.Option, rich_help_panel="Networks")
in_settings = partial(typer.Option, rich_help_panel="Settings")
in_running = partial(typer.Option, rich_help_panel="Running")
in_output = partial(typer.Option, rich_help_panel="Output")
Value = TypeVar("Value")


class ClassPair(NamedTuple):
    """Two classes as typed, by number or name."""

    adversarial: str
    target: str


class Part(NamedTuple):
    """Of some work every N-th piece from piece i on."""

    number: int
    of: int


def numbers(option: str) -> Callable[[str | Sequence[int]], Sequence[int]]:
    """The parser of an option that takes whole numbers: `0-9,12`."""
    return _typed(lambda text: spelling.parse_numbers(text, option))


def share(option: str, *, zero: bool = True) -> Callable[[str | Fraction], Fraction]:
    """The parser of an option that takes a share from 0 (unless `zero` is False) to 1: `1/10`, `0.1` or `10%`."""

    def parse(text: str) -> Fraction:
        found = spelling.parse_share(text, option)
        if not found and not zero:
            raise UsageError(f"{option} {text}: a share of nothing", "Write it like 1/10, 0.1 or 10%")
        return found

    return _typed(parse)


def levels(given: str | int) -> int:
    """An epsilon in whole levels.

    Raises:
        UsageError: it is not a whole number in 1..255.
    """
    text = str(given)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= 255:
        raise UsageError(f"--epsilon {text}: not a whole number of levels in 1..255", "8 means 8/255")
    return int(text)


def amounts(option: str, most: int) -> Callable[[str | Sequence[int]], Sequence[int]]:
    """The parser of an option that takes whole numbers from 1 to `most`, ascending, each once: `4,8,16`."""

    def parse(text: str) -> Sequence[int]:
        found = tuple(spelling.parse_numbers(text, option))
        if not 1 <= found[0] <= found[-1] <= most:
            raise UsageError(f"{option} {text}: wanted whole numbers from 1 to {most}", "Write them like 4,8,16")
        return found

    return _typed(parse)


def part(text: str) -> Part:
    """A share of work `I/N`, 1-based as typed, as 0-based I - 1 of N.

    Raises:
        UsageError: it is spelled otherwise, or there is no such part.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: no part of a whole", "Write 1/4 to 4/4")
    return Part(int(match[1]) - 1, int(match[2]))


def class_pair(text: str) -> ClassPair:
    """Two classes `ADVERSARIAL:TARGET`, each by number or name.

    Raises:
        UsageError: it is spelled otherwise.
    """
    adversarial, colon, target = text.partition(":")
    if not colon or not adversarial or not target:
        raise UsageError(f"--class-pair {text}: not two classes", "Write adversarial class, colon, target class: 6:0")
    return ClassPair(adversarial, target)


def _typed(parse: Callable[[str], Value]) -> Callable[[Any], Any]:
    """A parser that leaves a default alone."""
    return lambda given: parse(given) if isinstance(given, str) else given


def _trials(text: str) -> Sequence[int]:
    found = spelling.parse_numbers(text, "--trials")
    if found[-1] > limits.LAST_TRIAL:
        raise UsageError(f"--trials {text}: trial {found[-1]} is outside 0-{limits.LAST_TRIAL}")
    return found


Numbers: TypeAlias = Sequence[int]
Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]
in_bases = partial(in_what, "--base", autocompletion=names("bases"))
in_numbers = partial(in_trials, metavar="NUMBERS")
in_triggers = partial(in_trigger, autocompletion=names("triggers"), metavar="KIND[,key=value...]")
BaseName = Annotated[str, in_bases(help="A base of `poisonsets base list`, or digits.")]
PinnedBase = Annotated[str | None, in_bases(help="The base. Default: the one in the cache that the set pins.")]
Trials = Annotated[
    Numbers | None,
    in_numbers(parser=_typed(_trials), help="Which trials: 0-9, 3, 0-4,7. Default: all; craft draws 0-9."),
]
Epsilon = Annotated[
    int | None,
    in_budget(
        parser=_typed(lambda text: None if text == "none" else levels(text)),
        metavar="LEVELS",
        help="The l-infinity budget in whole levels of 255, or none.",
    ),
]
SetFolder = Annotated[Path, in_output("-o", "--output", help="The set's folder; must be empty or new.")]
SetName = Annotated[str | None, in_output(help="The set's name. Default: the output folder's.")]
Device = Annotated[str, in_running(help="auto, cpu, cuda, cuda:N or mps (untried).")]
Devices = Annotated[
    str, in_running(metavar="DEVICES", help="auto, cpu, cuda, cuda:N, several as cuda:0,cuda:1, or mps (untried).")
]
Workers = Annotated[int, in_running(min=1, help="Processes to work with; the result does not depend on it.")]
DeviceWorkers = Annotated[
    int | None,
    in_running(min=1, help="Processes to work with; the result does not depend on it. Default: one a device."),
]
Resume = Annotated[bool, in_running("--resume", help="Go on with unfinished output of the same command.")]
Quiet = Annotated[bool, in_output("--quiet", "-q", help="No notes and no progress bar.")]
Plugins = Annotated[
    bool, in_running("--plugins", help="Use checks, formats and bases of other packages too; the report names them.")
]
Json = Annotated[bool, in_output("--json", help="Print one JSON document on stdout, also on failure.")]


def take_plugins() -> tuple[str, ...]:
    """What `--plugins` adds to this process, one line a check, format or base of another package."""
    from poisonsets.manifests.bases import registry
    from poisonsets.manifests.interop import formats
    from poisonsets.manifests.verification import checks

    return tuple(str(one) for kind in (checks, formats, registry) for one in kind.take_plugins())
