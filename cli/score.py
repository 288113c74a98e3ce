"""`poisonsets score`: train victims on a poison set and count targets, beside the clean control."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.cli.craft import default_network
from poisonsets.cli.verify import checked, tell
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.victims.protocols import Protocol
    from poisonsets.victims.score import Score
    from poisonsets.victims.summary import Rate, Summary
    from poisonsets.victims.weights import Weights

METRIC = "targets classified as the adversarial label after training on the poisons"


def score(
    path: Annotated[Path, typer.Argument(help="The set's folder.")],
    protocol: Annotated[list[str] | None, typer.Option(help="A protocol id; may be repeated.")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="A suite of protocols; may be repeated.")] = None,
    extractor: Annotated[list[Path] | None, typer.Option(help="A victim's feature extractor; may be repeated.")] = None,
    trials: Annotated[str | None, typer.Option(help="Which trials: 0-9, 3. Default: all.")] = None,
    victim_seeds: Annotated[str, typer.Option(help="One victim a trial for each of these seeds.")] = "0",
    results: Annotated[Path | None, typer.Option("-o", "--output", help="Folder that keeps a row a victim.")] = None,
    resume: options.Resume = False,
    fail_under: Annotated[str | None, typer.Option(help="Exit 1 where a success rate is below this share.")] = None,
    base: Annotated[str | None, typer.Option("--base", help="The base; default: found in the cache by digest.")] = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Score a poison set: verify it, train victims and clean controls, report targeted misclassification."""
    chosen = None if trials is None else ranges.parsed(trials, "--trials")
    seeds = ranges.parsed(victim_seeds, "--victim-seeds")
    least = None if fail_under is None else _share(fail_under)

    report = checked(path, base, quiet=quiet)
    if not report.clean:
        if as_json:
            output.document(report.as_json())
        else:
            tell(report)
        output.note(f"{path}: nothing was scored, because the set does not verify")
        raise typer.Exit(report.worst)

    from poisonsets.manifests import store
    from poisonsets.manifests.bases.cache import find_base, open_base
    from poisonsets.manifests.reader import open_set
    from poisonsets.victims.device import resolve
    from poisonsets.victims.score import score_set
    from poisonsets.victims.weights import load_weights

    opened = open_set(path)
    for number in chosen or ():
        opened.trial(number)
    if results is not None and not resume:
        store.refuse_nonempty(results, "Go on with --resume or choose another one")
    where = resolve(device)
    cache = options.cache_folder()
    dataset = find_base(opened.manifest.base, cache=cache) if base is None else open_base(base, cache=cache)
    wanted = protocols(dataset, protocol or [], suite or [])
    given = [load_weights(file) for file in extractor or []]
    extractors: list[Weights] = given or [default_network(dataset, "--extractor", quiet=quiet)]
    with output.progress("scoring", quiet=quiet) as tick:
        outcome = score_set(
            opened,
            dataset,
            protocols=wanted,
            extractors=extractors,
            trials=chosen,
            victim_seeds=seeds,
            results=results,
            resume=resume,
            device=where,
            progress=tick,
        )
    _announce(outcome, path, opened.manifest.attack.name, as_json=as_json)
    if least is not None and any(s.poisoned.successes < least * s.poisoned.n for s in outcome.summaries):
        output.note(f"a success rate is below --fail-under {fail_under}")
        raise typer.Exit(1)


def protocols(base: Base, ids: list[str], suites: list[str]) -> list[Protocol]:
    """The protocols asked for; without any, the transfer suite of the base's name.

    Raises:
        UsageError: an unknown id or suite, or none given and none fits the base.
    """
    from poisonsets.victims import protocols as registry

    if ids or suites:
        return [registry.parse(text) for text in ids] + [p for name in suites for p in registry.suite(name)]
    default = f"{base.name}-transfer"
    if default not in registry.suites():
        raise UsageError(
            f"which protocol? The base {base.name} has none of its own",
            f"Give --protocol, for instance {registry.suite(registry.suites()[0])[0].id} (`list protocols`)",
        )
    return list(registry.suite(default))


def rate_cells(rate: Rate | None) -> tuple[str, str]:
    """A rate as `k of n` and its 95 % interval in percent."""
    if rate is None:
        return "none", "none"
    low, high = rate.interval.low, rate.interval.high
    return f"{rate.successes} of {rate.n}", f"[{100 * low:.1f}, {100 * high:.1f}]"


def _announce(outcome: Score, path: Path, attack: str, *, as_json: bool) -> None:
    if as_json:
        output.document(
            {
                "schema_version": 1,
                "path": str(path),
                "summaries": [summary.record() for summary in outcome.summaries],
                "rows": [row.model_dump(mode="json") for row in outcome.rows],
            }
        )
        return
    columns = (
        "protocol",
        "threat level",
        METRIC,
        "95 % interval",
        "clean control",
        "95 % interval",
        "p",
        "clean acc.",
    )
    output.table(f"{path} ({attack})", columns, [_cells(summary) for summary in outcome.summaries])


def _cells(summary: Summary) -> tuple[str, ...]:
    return (
        summary.protocol,
        ", ".join(summary.threat_levels),
        *rate_cells(summary.poisoned),
        *rate_cells(summary.control),
        "none" if summary.mcnemar_p is None else f"{summary.mcnemar_p:.2g}",
        output.percent(*summary.clean),
    )


def _share(text: str) -> float:
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?", text):
        raise UsageError(f"--fail-under {text}: not a share between 0 and 1", "Write it like 0.5")
    return float(text)
