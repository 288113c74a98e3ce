"""`poisonsets score`: train victims on a poison set and count targets, beside the clean control."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from poisonsets.cli import options, output
from poisonsets.cli.networks import default_network
from poisonsets.cli.verify import checked, finder, tell
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.findings import Report
    from poisonsets.manifests.reader import PoisonSet
    from poisonsets.victims.feature_store import FeaturePrecision
    from poisonsets.victims.fit import Precision
    from poisonsets.victims.protocols import Protocol
    from poisonsets.victims.scorable import ScorableTrial
    from poisonsets.victims.score import Score
    from poisonsets.victims.summary import Rate, Summary
    from poisonsets.victims.weights import Weights

_PRECISIONS: Final[tuple[FeaturePrecision, ...]] = ("fp16", "fp32")

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def score(
    path: Annotated[Path, typer.Argument(help="The set's folder.")],
    protocol: Annotated[list[str] | None, typer.Option(help="A protocol id; may be repeated.")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="A suite of protocols; may be repeated.")] = None,
    extractor: Annotated[list[Path] | None, typer.Option(help="A victim's feature extractor; may be repeated.")] = None,
    trials: Annotated[str | None, typer.Option(help="Which trials: 0-9, 3. Default: all.")] = None,
    victim_seeds: Annotated[str, typer.Option(help="One victim a trial for each of these seeds.")] = "0",
    results: Annotated[Path | None, typer.Option("-o", "--output", help="Folder that keeps a row a victim.")] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16: passes in which whole networks train.")] = "fp32",
    shard: Annotated[str, typer.Option(help="I/N: every N-th job, from the I-th on; each shard its own -o.")] = "1/1",
    workers: options.Workers = 1,
    resume: options.Resume = False,
    cache: Annotated[str, typer.Option(help="What remembered features are rounded to: fp16 or fp32.")] = "fp16",
    fail_under: Annotated[str | None, typer.Option(help="Exit 1 where a success rate is below this share.")] = None,
    base: Annotated[str | None, typer.Option("--base", help="The base; default: found in the cache by digest.")] = None,
    holdout: options.Holdout = None,
    split_seed: options.SplitSeed = 0,
    resize: options.Resize = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Score a poison set: verify it, train victims and clean controls, report targeted misclassification."""
    chosen = None if trials is None else ranges.parsed(trials, "--trials")
    seeds = ranges.parsed(victim_seeds, "--victim-seeds")
    least = None if fail_under is None else _share(fail_under)
    features = options.choice("--cache", cache, _PRECISIONS) or "fp16"
    part = options.part(shard)
    passes = options.choice("--precision", precision, PRECISIONS) or "fp32"
    if resume and results is None:
        raise UsageError("--resume goes on with a results folder, and there is none", "Name it with -o")

    find = finder(base, holdout=holdout, split_seed=split_seed, resize=resize)
    report = checked(path, find, quiet=quiet)
    if not report.clean:
        _refuse(report, path, as_json=as_json)

    from poisonsets.victims.device import resolve
    from poisonsets.victims.preflight import preflight
    from poisonsets.victims.results import refuse_used
    from poisonsets.victims.score import score_set
    from poisonsets.victims.weights import load_weights

    opened = _reopened(path, report)
    for number in chosen or ():
        opened.trial(number)
    if results is not None:
        refuse_used(results, resume=resume)
    where = resolve(device)
    dataset = find(opened.manifest.base)
    wanted = protocols(dataset, protocol or [], suite or [])
    # Before the default network is trained, which takes longer than anything here.
    scored = preflight(opened, dataset, wanted, chosen)
    given = [load_weights(file) for file in extractor or []]
    if not given and any(one.training != "scratch" for one in wanted):
        given = [default_network(dataset, "--extractor", quiet=quiet)]
    with output.progress("scoring", quiet=quiet) as tick:
        outcome = score_set(
            opened,
            dataset,
            protocols=wanted,
            extractors=given,
            trials=chosen,
            victim_seeds=seeds,
            results=results,
            precision=passes,
            shard=part,
            workers=workers,
            resume=resume,
            cache=options.cache_folder(),
            features=features,
            device=where,
            progress=tick,
        )
    _note_compositions(wanted, scored, quiet=quiet)
    if as_json:
        output.document(_document(outcome, path))
    else:
        _table(outcome, f"{path} ({opened.manifest.attack.name})", given)
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


def rate_cell(rate: Rate | None, controls: int | None = None) -> str:
    """A rate as `k of n` and in percent with its 95 % interval.

    Args:
        rate: None where there is no control.
        controls: how many controls were trained, said where they are fewer than n.
    """
    if rate is None:
        return "none"
    shared = controls is not None and controls < rate.n
    counted = f"{rate.successes} of {rate.n}"
    if shared:
        counted += f" ({controls} control{'' if controls == 1 else 's'})"
    low, high = rate.interval.low, rate.interval.high
    return f"{counted}\n{output.percent(rate.successes, rate.n)} [{100 * low:.1f}, {100 * high:.1f}]"


def clean_cell(summary: Summary) -> str:
    """The clean accuracy of the victims and of their controls."""
    control = "none" if summary.control_clean is None else output.percent(*summary.control_clean)
    return f"{output.percent(*summary.clean)} / {control}"


def _refuse(report: Report, path: Path, *, as_json: bool) -> None:
    if as_json:
        output.document(report.as_json())
    else:
        tell(report)
    output.note(f"{path}: nothing was scored, because the set does not verify")
    raise typer.Exit(report.worst)


def _reopened(path: Path, report: Report) -> PoisonSet:
    from poisonsets.manifests.reader import open_set

    opened = open_set(path)
    if opened.manifest.content_digest != report.content_digest:
        raise DamagedError(
            f"{path}: verified as {str(report.content_digest)[:12]}, now it is {opened.manifest.content_digest[:12]}",
            "Score it again when nothing writes there",
        )
    return opened


def _note_compositions(wanted: Sequence[Protocol], scored: Sequence[ScorableTrial], *, quiet: bool) -> None:
    for protocol in dict.fromkeys(wanted):
        own = {t.record.composition.rule for t in scored if t.record.composition != protocol.rule(t.record)}
        if own:
            size = "" if protocol.size is None else f" of {protocol.size} images"
            output.note(
                f"{protocol.id} composes training sets{size} {protocol.composition}, the set's own rule is "
                f"{' and '.join(sorted(own))}; `composition=trial` takes the set's",
                quiet=quiet,
            )


def _document(outcome: Score, path: Path) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "path": str(path),
        "summaries": [summary.record() for summary in outcome.summaries],
        "rows": [row.model_dump(mode="json") for row in outcome.rows],
    }


def _table(outcome: Score, title: str, extractors: Sequence[Weights]) -> None:
    from poisonsets.victims.summary import METRIC, SOURCE_METRIC

    columns = (
        *("protocol", "extractor", "threat level", "poisons", "poisoned [95 % interval]"),
        *("clean control [95 % interval]", "McNemar p", "clean accuracy: victim / control"),
    )
    named = {weights.digest: weights for weights in extractors}
    output.table(f"{title}\n{METRIC}", columns, [_cells(one, named) for one in outcome.summaries])
    asked = [one for one in outcome.summaries if one.sources is not None]
    if asked:
        short = ("protocol", "extractor", "poisoned [95 % interval]", "clean control [95 % interval]")
        rows = [
            (one.protocol, (one.extractor or "none")[:8], rate_cell(one.sources), rate_cell(one.control_sources))
            for one in asked
        ]
        output.table(f"{title}\n{SOURCE_METRIC}", short, rows)


def _cells(summary: Summary, named: Mapping[str, Weights]) -> tuple[str, ...]:
    return (
        summary.protocol,
        "none" if summary.extractor is None else f"{summary.extractor[:8]}\n{_training(named[summary.extractor])}",
        ", ".join(summary.threat_levels),
        ", ".join(f"{poisons} of {images}" for poisons, images in summary.poisons),
        rate_cell(summary.poisoned),
        rate_cell(summary.control, summary.distinct_controls),
        "none" if summary.mcnemar_p is None else f"{summary.mcnemar_p:.2g}",
        clean_cell(summary),
    )


def _training(extractor: Weights) -> str:
    """What an extractor was trained on, as far as its file says."""
    base = str(extractor.record["provenance"].get("base", "unknown base"))[:40]
    return f"{base} {ranges.spelled(extractor.record['classes'])}"


def _share(text: str) -> Fraction:
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?", text):
        raise UsageError(f"--fail-under {text}: not a share between 0 and 1", "Write it like 0.5")
    return Fraction(text)
