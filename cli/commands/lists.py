"""`poisonsets list`: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from poisonsets.cli import options, output
from poisonsets.manifests.errors import UsageError

Table = list[dict[str, Any]]


def list_things(
    what: Annotated[
        str, typer.Argument(autocompletion=lambda: [*LISTS], help="attacks, presets, triggers, setups, bases ...")
    ],
    as_json: options.Json = False,
) -> None:
    """List attacks, bases, networks, protocols, suites, setups, presets, triggers, formats or checks."""
    if what not in LISTS:
        from poisonsets.manifests.spelling import nearest

        near = nearest(what, LISTS)
        raise UsageError(
            f"cannot list {what!r}", f"Did you mean {near}?" if near else f"Choose one of {', '.join(LISTS)}"
        )
    rows = LISTS[what]()
    if as_json:
        output.document({"schema_version": 1, what: rows})
        return
    columns = tuple(rows[0]) if rows else ("none",)
    output.table("", columns, [[_cell(row[column]) for column in columns] for row in rows])


def _attacks() -> Table:
    from poisonsets.attacks import attacks
    from poisonsets.settings import record_settings

    return [
        {
            "name": one.name,
            "aliases": list(one.aliases),
            "threat model": one.traits.threat_model,
            "objective": one.traits.objective,
            "settings": record_settings(one.defaults()),
            "source": one.source,
        }
        for one in attacks().values()
    ]


def _bases() -> Table:
    from poisonsets.manifests.bases.registry import kinds

    return [
        {"name": kind.usage, "embedded": kind.source == "embedded", "summary": kind.summary}
        for kind in kinds().values()
    ]


def _networks() -> Table:
    from poisonsets.victims.networks import NetworkSpec, names, skeleton, spellings

    built = {name: skeleton(NetworkSpec(name, 10, "1", ("0",) * 3, ("1",) * 3)) for name in names()}
    rows: Table = [
        {
            "name": name,
            "features": network.feature_width,
            "parameters with 10 classes": sum(p.numel() for p in network.parameters()),
            "smallest image": network.body.smallest,
        }
        for name, network in built.items()
    ]
    others = [name for name in spellings() if name not in built]
    unknown = {"features": "its own", "parameters with 10 classes": "its own", "smallest image": "its own"}
    return rows + [{"name": name, **unknown} for name in others]


def _protocols() -> Table:
    from poisonsets.victims.protocols import suite, suites

    return [
        {
            "id": protocol.id,
            "version": protocol.version,
            "training": protocol.training,
            "composition": protocol.composition,
            "size": protocol.size,
            "epochs": protocol.epochs,
        }
        for name in suites()
        for protocol in suite(name)
    ]


def _suites() -> Table:
    from poisonsets.victims.protocols import suite, suites

    return [{"name": name, "protocols": [protocol.id for protocol in suite(name)]} for name in suites()]


def _setups() -> Table:
    from poisonsets.manifests.trials.published import RULES

    return [
        {"name": "drawn", "summary": "trials drawn from --seed (the default)"},
        *({"name": name, "summary": f"--setup {name}: {count} trials, computed"} for name, (count, _) in RULES.items()),
        {
            "name": "FILE.json",
            "summary": "--setup FILE: our own JSON form, poisonset-setups/1 (docs/setups.md)",
        },
        {
            "name": "FILE.pickle",
            "summary": "--setup FILE: the published benchmark's files, read without unpickling",
        },
    ]


def _checks() -> Table:
    from poisonsets.manifests.interop import import_codes
    from poisonsets.manifests.verification.check_registry import promises
    from poisonsets.manifests.verification.checks import integrity
    from poisonsets.manifests.verification.findings import kind_of

    every = {**integrity.CODES, **promises(), **import_codes.CODES}
    return [{"code": code, "kind": kind_of(code), "promise": promise} for code, promise in every.items()]


def _presets() -> Table:
    from poisonsets.presets import PUBLISHED, tables

    shipped = {
        name: {attack: " ".join(f"{k}={v}" for k, v in given.items()) for attack, given in found.items()}
        for name, found in tables().items()
    }
    return [{"name": PUBLISHED, "attacks": {"all": "their own defaults"}}] + [
        {"name": name, "attacks": found} for name, found in shipped.items()
    ]


def _triggers() -> Table:
    from poisonsets.settings import record_settings
    from poisonsets.triggers import kinds

    return [
        {
            "name": kind.name,
            "summary": kind.summary,
            "options": record_settings(kind.options({})),
        }
        for kind in kinds().values()
    ]


def _formats() -> Table:
    from poisonsets.manifests.interop.formats import formats

    return [
        {"name": one.name, "read": True, "written": one.write is not None, "summary": one.summary}
        for one in formats().values()
    ]


LISTS: dict[str, Callable[[], Table]] = {
    "attacks": _attacks,
    "bases": _bases,
    "networks": _networks,
    "protocols": _protocols,
    "suites": _suites,
    "setups": _setups,
    "presets": _presets,
    "triggers": _triggers,
    "formats": _formats,
    "checks": _checks,
}


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(
            f"{key}={str(item).lower() if isinstance(item, bool) else item}" for key, item in value.items()
        )
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
