"""`poisonsets list`: what there is to choose from."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Annotated, Any

import typer

from poisonsets.cli import options, output
from poisonsets.manifests.errors import UsageError

Rows = list[dict[str, Any]]


def list_things(
    what: Annotated[str, typer.Argument(help="attacks, bases, networks, protocols, suites, setups or checks.")],
    as_json: options.Json = False,
) -> None:
    """List attacks, bases, networks, protocols, suites, setups or checks."""
    if what not in LISTS:
        near = difflib.get_close_matches(what, LISTS, n=1)
        raise UsageError(
            f"cannot list {what!r}",
            f"Did you mean {near[0]}?" if near else f"Choose one of {', '.join(LISTS)}",
        )
    rows = LISTS[what]()
    if as_json:
        output.document({"schema_version": 1, what: rows})
        return
    columns = tuple(rows[0]) if rows else ("none",)
    output.table("", columns, [[_cell(row[column]) for column in columns] for row in rows])


def _attacks() -> Rows:
    from poisonsets.registry import attacks, recorded

    return [
        {
            "name": entry.name,
            "aliases": list(entry.aliases),
            "labels": entry.traits.labels,
            "objective": entry.traits.objective,
            "needs": sorted(entry.traits.needs),
            "settings": recorded(entry.defaults()),
            "source": entry.source,
        }
        for entry in attacks().values()
    ]


def _bases() -> Rows:
    from poisonsets.manifests.bases.registry import kinds, spelling

    return [
        {"name": spelling(kind), "embedded": kind.source == "embedded", "summary": kind.summary}
        for kind in kinds().values()
    ]


def _networks() -> Rows:
    from poisonsets.victims.networks import build, names

    plain = (("0", "0", "0"), ("1", "1", "1"))
    built = {name: build(name, 10, "1", *plain) for name in names()}
    return [
        {
            "name": name,
            "features": network.feature_width,
            "parameters with 10 classes": sum(p.numel() for p in network.parameters()),
        }
        for name, network in built.items()
    ]


def _protocols() -> Rows:
    from poisonsets.victims.protocols import suite, suites

    return [
        {
            "id": protocol.id,
            "version": protocol.version,
            "training": "frozen feature extractor",
            "composition": protocol.composition,
            "size": protocol.size,
            "epochs": protocol.epochs,
        }
        for name in suites()
        for protocol in suite(name)
    ]


def _suites() -> Rows:
    from poisonsets.victims.protocols import suite, suites

    return [{"name": name, "protocols": [protocol.id for protocol in suite(name)]} for name in suites()]


def _setups() -> Rows:
    return [
        {"name": "drawn", "summary": "trials drawn from --seed (the default)"},
        {
            "name": "FILE.json",
            "summary": "--setup FILE: our own JSON form, poisonset-setups/1 (docs/setups.md)",
        },
        {
            "name": "FILE.pickle",
            "summary": "--setup FILE: the published benchmark's files, read without unpickling",
        },
    ]


def _checks() -> Rows:
    from poisonsets.manifests.checks import integrity, promises

    damage = [{"code": code, "kind": "damage", "promise": promise} for code, promise in integrity.CODES.items()]
    kinds = {"V": "violation", "H": "hint"}
    claims = [{"code": code, "kind": kinds[code[0]], "promise": promise} for code, promise in promises().items()]
    return damage + claims


LISTS: dict[str, Callable[[], Rows]] = {
    "attacks": _attacks,
    "bases": _bases,
    "networks": _networks,
    "protocols": _protocols,
    "suites": _suites,
    "setups": _setups,
    "checks": _checks,
}


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
