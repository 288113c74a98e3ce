"""`poisonsets list`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import LISTS
from poisonsets.manifests.errors import UsageError


def list_(
    what: Annotated[
        str, typer.Argument(autocompletion=lambda: [*LISTS], help="attacks, presets, triggers, setups, bases ...")
    ],
    as_json: options.Json = False,
) -> None:
    """List attacks, bases, networks, weights, protocols, suites, setups, presets, triggers, formats or checks."""
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


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(
            f"{key}={str(item).lower() if isinstance(item, bool) else item}" for key, item in value.items()
        )
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
