"""`poisonsets check-attack`: the laws of attacks, run on any installed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import names

if TYPE_CHECKING:
    from poisonsets.experiments.laws.law import Verdict


def check_attack(
    name: Annotated[str, typer.Argument(autocompletion=names("attacks"), help="One of `poisonsets list attacks`.")],
    as_json: options.Json = False,
) -> None:
    """Run the laws of attacks on an installed one: tiny trials, tiny untrained networks, the CPU."""
    from poisonsets.attacks import GROUP, find
    from poisonsets.manifests.plugins import package_of

    entry = find(name)
    package = package_of(entry.factory.__module__, GROUP)
    from poisonsets.experiments.laws.check import check_attack as check

    verdicts = check(entry)
    counts = {state: sum(one.state == state for one in verdicts) for state in ("held", "broken", "not applicable")}
    if as_json:
        output.document(
            {
                "schema_version": 1,
                "attack": entry.name,
                "version": entry.version,
                "package": None if package is None else {"name": package[0], "version": package[1]},
                "counts": counts,
                "laws": [_row(one) for one in verdicts],
            }
        )
    else:
        origin = "poisonsets" if package is None else " ".join(package)
        rows = [(one.law.name, one.state, _words(one)) for one in verdicts]
        output.table(f"{entry.name} version {entry.version} of {origin}", ("law", "verdict", "promise"), rows)
        print(", ".join(f"{count} {state}" for state, count in counts.items()))
    raise typer.Exit(1 if counts["broken"] else 0)


def _words(verdict: Verdict) -> str:
    """What the law promises; of a broken one also what was seen and what was wanted."""
    if verdict.state != "broken":
        return verdict.law.promise
    return f"{verdict.law.promise}\nseen: {verdict.seen}\nwanted: {verdict.wanted}"


def _row(verdict: Verdict) -> dict[str, str]:
    row = {"law": verdict.law.name, "state": verdict.state, "promise": verdict.law.promise}
    return row | ({"seen": verdict.seen, "wanted": verdict.wanted} if verdict.state == "broken" else {})
