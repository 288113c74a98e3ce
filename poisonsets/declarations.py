"""What each attack's file declares of itself, read without running it: attacks load torch, a list need not."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import poisonsets.attacks
from poisonsets.attacks import GROUP, attacks
from poisonsets.registry import Traits, named, registered

MADE: Final[dict[str, Callable[..., Any]]] = {"Traits": Traits, "frozenset": frozenset}


@dataclass(frozen=True)
class Declaration:
    """An attack as its file declares it: the fields of `RegisteredAttack`, and every setting with its default value."""

    name: str
    aliases: tuple[str, ...]
    traits: Traits
    source: str
    settings: Mapping[str, Any]


def declarations() -> dict[str, Declaration]:
    """All attacks by full name, in alphabetical order.

    All are run where another package has attacks, or where a file of ours declares something that is no constant.

    Raises:
        MissingError, UsageError: as `attacks`.
    """
    written = _written()
    others = registered() if written and not entry_points(group=GROUP) else attacks()
    found = {one.name: one for one in written}
    found |= {
        name: Declaration(name, one.aliases, one.traits, one.source, one.defaults()) for name, one in others.items()
    }
    return dict(sorted(found.items()))


def full_name(name: str) -> str:
    """The full name of the attack of that name or alias, in any case; no attack of ours is run.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    return named(name, declarations().values())


@cache
def _written() -> tuple[Declaration, ...]:
    """What the files of our own folder declare; nothing where one cannot be read so."""
    folder = Path(poisonsets.attacks.__path__[0])
    files = (path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_"))
    try:
        return tuple(one for path in files for one in _declared(ast.parse(path.read_text(encoding="utf-8"))))
    except (KeyError, ValueError, SyntaxError):
        return ()


def _declared(module: ast.Module) -> Iterator[Declaration]:
    names = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for factory in (node for node in module.body if isinstance(node, ast.FunctionDef)):
        for call in factory.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "attack":
                given = {one.arg: _value(one.value, names) for one in call.keywords}
                defaults = zip(factory.args.kwonlyargs, factory.args.kw_defaults, strict=True)
                settings = {key.arg: _value(node, names) for key, node in defaults if node is not None}
                name = _value(call.args[0], names)
                yield Declaration(name, given.get("aliases", ()), given["traits"], given["source"], settings)


def _value(node: ast.expr, names: Mapping[str, ast.expr]) -> Any:
    """A constant, a constant of the module by name, or the traits made of such."""
    if isinstance(node, ast.Name):
        return _value(names[node.id], names)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in MADE:
        keywords = {str(one.arg): _value(one.value, names) for one in node.keywords}
        return MADE[ast.unparse(node.func)](*(_value(one, names) for one in node.args), **keywords)
    return ast.literal_eval(node)
