"""`poisonsets score`: train victims on a poison set and count targets, beside the clean control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from poisonsets.cli import any_set, options, output, training_sets
from poisonsets.cli.bases import finder, named_base
from poisonsets.cli.default_networks import default_network, protocols
from poisonsets.cli.reports import checked, tell
from poisonsets.cli.score_table import document, table
from poisonsets.cli.training_sets import TargetOptions
from poisonsets.manifests import spelling
from poisonsets.manifests.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.records.base import BasePin
    from poisonsets.manifests.sets.reader import PoisonSet
    from poisonsets.manifests.training_sets.training_set import OpenTrainingSet
    from poisonsets.manifests.verification.findings import Report
    from poisonsets.victims.features.store import FeaturePrecision
    from poisonsets.victims.protocols import Protocol
    from poisonsets.victims.scoring.subject import ScorableTrial
    from poisonsets.victims.training.loop import Precision

_PRECISIONS: Final[tuple[FeaturePrecision, ...]] = ("fp16", "fp32")

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def score(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A poison set; or whole shards: see --targets.")],
    protocol: Annotated[list[str] | None, typer.Option(help="A protocol id; may be repeated.")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="A suite of protocols; may be repeated.")] = None,
    extractor: Annotated[list[Path] | None, typer.Option(help="A victim's feature extractor; may be repeated.")] = None,
    trials: Annotated[str | None, typer.Option(help="Which trials: 0-9, 3. Default: all.")] = None,
    victim_seeds: Annotated[str, typer.Option(help="One victim a trial for each of these seeds.")] = "0",
    results: Annotated[Path | None, typer.Option("-o", "--output", help="Folder that keeps a row a victim.")] = None,
    trajectories: Annotated[
        bool, typer.Option("--trajectories", help="Keep each victim's course over its epochs beside the rows.")
    ] = False,
    precision: Annotated[str, typer.Option(help="fp32 or bf16: passes in which whole networks train.")] = "fp32",
    shard: Annotated[str, typer.Option(help="I/N: every N-th job, from the I-th on; each shard its own -o.")] = "1/1",
    workers: options.Workers = 1,
    resume: options.Resume = False,
    cache: Annotated[str, typer.Option(help="What remembered features are rounded to: fp16 or fp32.")] = "fp16",
    targets: Annotated[
        Path | None, typer.Option(help="JSON: what to ask victims of shards without a manifest (third-party.md).")
    ] = None,
    source_class: Annotated[
        list[int] | None, typer.Option(help="In its place: ask for all test images of this class; may be repeated.")
    ] = None,
    adversarial_label: Annotated[int | None, typer.Option(help="What they are meant to be taken for.")] = None,
    trigger: Annotated[
        str | None, typer.Option(help="Stamped on what is asked for: KIND[,key=value...] (`list triggers`).")
    ] = None,
    fail_under: Annotated[str | None, typer.Option(help="Exit 1 where a success rate is below this share.")] = None,
    base: options.PinnedBase = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Score a poison set: verify it, train victims and clean controls, report targeted misclassification."""
    chosen = None if trials is None else spelling.parse_numbers(trials, "--trials")
    seeds = spelling.parse_numbers(victim_seeds, "--victim-seeds")
    least = None if fail_under is None else spelling.parse_share(fail_under, "--fail-under")
    features = options.choice("--cache", cache, _PRECISIONS) or "fp16"
    part = options.part(shard)
    passes = options.choice("--precision", precision, PRECISIONS) or "fp32"
    if resume and results is None:
        raise UsageError("--resume goes on with a results folder, and there is none", "Name it with -o")
    if trajectories and results is None:
        raise UsageError("--trajectories are kept in a results folder, and there is none", "Name it with -o")

    target_options = TargetOptions(targets, tuple(source_class or ()), adversarial_label, trigger)
    find = finder(base)
    ours = path
    if not target_options.present:
        # A foreign set's temporary folder stays until the command ends.
        ours = context.with_resource(any_set.native(path, base, quiet=quiet))
    if target_options.apply_to(ours):
        subject = _whole(path, target_options, base, quiet=quiet)
    else:
        subject = _verified(ours, find, chosen, shown=path, quiet=quiet, as_json=as_json)

    from poisonsets.victims.device import resolve
    from poisonsets.victims.networks.weights import load_weights
    from poisonsets.victims.results.folder import refuse_used
    from poisonsets.victims.scoring.extractors import refuse_unmet
    from poisonsets.victims.scoring.preflight import preflight
    from poisonsets.victims.scoring.score import score_set
    from poisonsets.victims.training.pretraining import default_pretraining

    opened, dataset = subject.opened, subject.base
    if results is not None:
        refuse_used(results, resume=resume)
    where = resolve(device)
    wanted = protocols(dataset, protocol or [], suite or [])
    if subject.whole is not None:
        wanted = training_sets.composed_as_they_stand(wanted, path, quiet=quiet)
    # Before the default network is trained, which takes longer than anything here.
    scored = preflight(opened, dataset, wanted, chosen)
    given = [load_weights(file) for file in extractor or []]
    if not given and any(one.training != "scratch" for one in wanted):
        if (pretraining := default_pretraining(dataset, "features")) is not None:
            refuse_unmet(wanted, [(pretraining.network, pretraining.width)])
        given = [default_network(dataset, "--extractor", quiet=quiet)]
    with output.progresses("scoring", "clean features", quiet=quiet) as (tick, sharing):
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
            trajectories=trajectories,
            cache=options.cache_folder(),
            features=features,
            device=where,
            progress=tick,
            sharing=sharing,
        )
    _note_compositions(wanted, scored, quiet=quiet)
    if as_json:
        found = None if subject.whole is None else training_sets.record(subject.whole)
        output.document(document(outcome, path, found=found, not_checked=subject.not_checked))
    else:
        slots = "poisons" if subject.whole is None else "not the base's own"
        table(outcome, f"{path} ({subject.attack})", given, slots=slots)
        if subject.whole is not None:
            training_sets.tell(subject.whole)
    if least is not None and any(s.poisoned.successes < least * s.poisoned.n for s in outcome.summaries):
        output.note(f"a success rate is below --fail-under {fail_under}")
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Subject:
    """What is scored: a set that verified, or a whole training set of somebody else."""

    opened: PoisonSet | OpenTrainingSet
    base: Base
    attack: str
    not_checked: tuple[str, ...]

    @property
    def whole(self) -> OpenTrainingSet | None:
        """It, where it has no manifest."""
        from poisonsets.manifests.training_sets.training_set import OpenTrainingSet

        return self.opened if isinstance(self.opened, OpenTrainingSet) else None


def _whole(path: Path, target_options: TargetOptions, base: str | None, *, quiet: bool) -> _Subject:
    from poisonsets.manifests.training_sets.contents import NOT_CHECKED

    if base is None:
        raise UsageError(
            f"{path}: without a manifest nothing says which dataset it was made from",
            "Name it with --base (`poisonsets list bases`)",
        )
    dataset = named_base(base)
    whole = training_sets.open_with_notes(path, target_options, dataset, quiet=quiet)
    return _Subject(whole, dataset, "no manifest, attack unknown", NOT_CHECKED)


def _verified(
    path: Path,
    find: Callable[[BasePin], Base],
    chosen: Sequence[int] | None,
    *,
    shown: Path,
    quiet: bool,
    as_json: bool,
) -> _Subject:
    """The set at a path, shown as what the user named, verified; where it does not verify, the command ends here."""
    report = replace(checked(path, find, quiet=quiet), path=str(shown))
    if not report.clean:
        if as_json:
            output.document(report.as_json())
        else:
            tell(report)
        output.note(f"{shown}: nothing was scored, because the set does not verify")
        raise typer.Exit(report.worst)
    opened = _reopened(path, report)
    for number in chosen or ():
        opened.trial(number)
    manifest = opened.manifest
    return _Subject(opened, find(manifest.base), manifest.attack.name, report.not_checked)


def _reopened(path: Path, report: Report) -> PoisonSet:
    from poisonsets.manifests.sets.reader import open_set

    opened = open_set(path)
    now, then = opened.manifest.content_digest, str(report.content_digest)
    if now != then:
        raise DamagedError(
            f"{report.path}: verified as {then[:12]}, now it is {now[:12]}",
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
