"""The parts of the docs that are read off the code: `make docs` writes them, a test compares them.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; all else on a page is prose.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from device.figures import steps_table
from typer.models import ArgumentInfo

import poisonsets
from poisonsets import attacks, triggers
from poisonsets.cli import main
from poisonsets.manifests import spelling
from poisonsets.settings import Range, meanings, parse_settings, record_settings, spell_setting

DOCS = Path(__file__).resolve().parents[1] / "docs"
PART = re.compile(r"(<!-- generated: (?P<name>[^\n]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def values(hint: Any) -> str:
    """What a setting may be: `1 to 100`, the choices, or any text."""
    notes: list[Any] = []
    if typing.get_origin(hint) is Annotated:
        hint, *notes = typing.get_args(hint)
    for note in notes:
        if isinstance(note, Range):
            return " to ".join(str(end) if isinstance(end, int) else f"{end:g}" for end in (note.least, note.most))
    if hint is str:
        return "text"
    choices = ("true", "false") if hint is bool else typing.get_args(hint)
    return ", ".join(f"`{choice}`" for choice in choices)


def settings_table(factory: Callable[..., Any], column: str) -> str:
    """A row a setting: name, default, range or choices, meaning."""
    hints, means = typing.get_type_hints(factory, include_extras=True), meanings(factory)
    lines = [f"| {column} | default | range or choices | meaning |", "|---|---|---|---|"]
    for name, default in record_settings(parse_settings("it", factory, {})).items():
        shown = f"`{spell_setting(default)}`" if default != "" else ""
        meaning = re.sub(r"(?<!et al)\.$", "", means[name]).replace("|", r"\|")
        lines.append(f"| `{name}` | {shown} | {values(hints[name])} | {meaning} |".replace("|  |", "| |"))
    return "\n".join(lines)


def commands(app: typer.Typer = main.app, above: str = "poisonsets") -> Iterator[tuple[str, Callable[..., None]]]:
    """Every command of the application by its full name, with its function."""
    for command in app.registered_commands:
        if command.callback is not None:
            yield f"{above} {command.name}", command.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from commands(group.typer_instance, f"{above} {group.name}")


def spelled(hint: Any, info: Any) -> str:
    """What is typed behind an option: its metavar, its choices, or a word for its type; nothing for a flag."""
    inner = [one for one in typing.get_args(hint) if one is not type(None)] or [hint]
    if info.metavar:
        return f"`{info.metavar}`"
    if typing.get_origin(inner[0]) is Literal or typing.get_origin(hint) is Literal:
        return ", ".join(f"`{one}`" for one in (typing.get_args(inner[0]) or inner))
    return {bool: "", int: "`N`", str: "`TEXT`"}.get(inner[0], "`PATH`")


def parameters(command: Callable[..., None]) -> Iterator[tuple[str, str, str, str]]:
    """Each parameter of a command: the group it is shown in, its names, what is typed, and what it means."""
    hints = typing.get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if typing.get_origin(hints[name]) is not Annotated:
            continue  # the context
        hint, info = typing.get_args(hints[name])[:2]
        meaning, default = re.sub(r"(?<!\.)\.$", "", info.help), parameter.default
        if not (default is None or default is False or default is parameter.empty):
            meaning += f". Default: `{spelling.format_numbers(default) if isinstance(default, tuple) else default}`"
        if isinstance(info, ArgumentInfo):
            yield "", f"`{(info.metavar or name).upper()}`", "", meaning
        else:
            given = (info.default, *(info.param_decls or ()))
            flags = [one for one in given if isinstance(one, str)] or [f"--{name.replace('_', '-')}"]
            names = ", ".join(f"`{flag}`" for flag in sorted(flags, key=len, reverse=True))
            yield info.rich_help_panel or "Options", names, spelled(hint, info), meaning


def options_table(name: str, command: Callable[..., None]) -> str:
    """How a command is called, what it does, and a row an option in the groups and the order of `--help`."""
    given = list(parameters(command))
    arguments = [names.strip("`") for group, names, _, _ in given if not group]
    summary = (inspect.getdoc(command) or "").partition("\n")[0]
    lines = [f"`{' '.join((name, *arguments))}`: {summary[0].lower()}{summary[1:]}", ""]
    lines += ["| option | value | meaning |", "|---|---|---|"]
    for group in dict.fromkeys(group for group, _, _, _ in given):
        lines += [f"| **{group}** | | |"] if group else []
        for where, *cells in given:
            if where == group:
                lines.append(" | ".join(("", *(cell.replace("|", r"\|") for cell in cells), "")).strip())
    return "\n".join(lines).replace("  ", " ")


def api_entry(function: Callable[..., Any]) -> str:
    """A function's signature, a parameter a line, and its docstring."""
    given = inspect.signature(function)
    lines, named = [f"{function.__name__}("], False
    for one in given.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not named:
            lines.append("    *,")
        named = named or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        lines.append(f"    {_short(str(one))},")
    signature = "\n".join([*lines, f") -> {_short(inspect.formatannotation(given.return_annotation))}"])
    return f"```\n{signature}\n\n{inspect.getdoc(function)}\n```"


def _short(hint: str) -> str:
    """A type as a reader says it: without its module and quotes."""
    plain = re.sub(r"(?:[a-z_]+[.])+(?=[A-Z])", "", hint)
    return re.sub(r"(: |^)'([^']*)'", r"\1\2", plain)


def page_parts() -> Iterator[tuple[Path, str, Callable[[], str]]]:
    """Every generated part: its page, its name, and what writes it."""
    for name, entry in attacks.attacks().items():
        page = DOCS / "attacks" / f"{name}.md"
        if entry.defaults() and entry.factory.__module__.startswith("poisonsets."):
            yield page, f"settings of {name}", lambda entry=entry: settings_table(entry.factory, "setting")
    for name, kind in triggers.kinds().items():
        yield DOCS / "triggers.md", f"options of {name}", lambda kind=kind: settings_table(kind.factory, "option")
    for name, command in commands():
        yield DOCS / "cli.md", name, lambda name=name, command=command: options_table(name, command)
    for name in poisonsets.__all__:
        yield DOCS / "api.md", name, lambda name=name: api_entry(getattr(poisonsets, name))
    yield DOCS / "results" / "device.md", "steps", steps_table


def written(page: Path) -> str:
    """The page with its generated parts as the code has them."""
    parts = {name: write for where, name, write in page_parts() if where == page}
    found = [match["name"] for match in PART.finditer(page.read_text())]
    assert sorted(found) == sorted(parts), f"{page.name} has the parts {found}, wanted {list(parts)}"
    return PART.sub(lambda match: match[1] + parts[match["name"]]() + match[3], page.read_text())


if __name__ == "__main__":
    for page in sorted({page for page, _, _ in page_parts()}):
        page.write_text(written(page))
        sys.stdout.write(f"{page.relative_to(DOCS)}\n")
