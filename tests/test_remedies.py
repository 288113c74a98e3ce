"""What a message tells people to type can be typed: commands parse, options exist, settings are settings."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed import leaves, refuse_unparsed

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("manifests", "victims", "poisonsets", "cli")


def texts() -> Iterator[tuple[str, str]]:
    """Every text in the code that is no docstring, with its place; what is put into it stands as {expression}."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.resolve().is_relative_to(ROOT / folder):
                tree = ast.parse(path.read_text())
                said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
                said |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
                for node in ast.walk(tree):
                    if isinstance(node, ast.JoinedStr):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", "".join(map(_piece, node.values))
                    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def _piece(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return f"{{{ast.unparse(part.value)}}}"
    assert isinstance(part, ast.Constant)
    return str(part.value)


ROOTS = {"--help", "--config", "--version"}
OPTIONS = {flag for command in leaves() for option in command.params for flag in option.opts} | ROOTS
OTHERS = ("manifests/sets/card.py", "poisonsets/crafting/provenance.py")  # a page with code, and what git is asked
TYPED = [
    (place, text)
    for place, text in texts()
    if ("`" in text or "poisonsets " in text or "--" in text) and not place.startswith(OTHERS)
]


def test_the_texts_are_found() -> None:
    assert len(TYPED) > 100
    assert any("`poisonsets list attacks` shows them" in text for _, text in TYPED)


@pytest.mark.parametrize(("place", "text"), TYPED, ids=[place for place, _ in TYPED])
def test_what_a_text_says_to_type_can_be_typed(place: str, text: str) -> None:
    for line in re.findall(r"`(poisonsets [^`]*)`", text):
        refuse_unparsed(re.sub(r"\{[^{}]*\}", "1", line))
    for line in re.findall(r"`(--[^`]*)`", text):
        assert shlex.split(re.sub(r"\{[^{}]*\}", "1", line))[0] in OPTIONS
    text = re.sub(r"`(pip|export) [^`]*`", "", text)
    for option in re.findall(r"(?<![\w{-])--[a-z][a-z-]+[a-z]", text):
        assert option in OPTIONS
    commands = "|".join(command.name for command in leaves())
    bare = re.sub(r"`poisonsets [^`]*`", "", text)
    assert not re.search(rf"\bpoisonsets ({commands})\b", bare), "a command to paste stands in backticks"
    assert not re.search(rf"`({commands})( [^`]*)?`", bare), "a command to paste begins with poisonsets"
