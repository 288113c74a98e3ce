"""`poisonsets score`: train victims on a poison set and count targets, beside the clean control."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from poisonsets.cli import options, output, training_sets
from poisonsets.cli.devices import computing_on
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_networks, in_output, in_running, in_trials, in_triggers, in_what
from poisonsets.cli.predictions import Asked, refuse_training
from poisonsets.cli.predictions import scored as scored_predictions
from poisonsets.cli.score_table import document, table
from poisonsets.cli.subjects import Subject, subject
from poisonsets.cli.training_sets import TargetOptions
from poisonsets.door.cache import cache_folder
from poisonsets.door.networks import default_extractors, protocols, read_network
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.victims.protocols import Protocol
    from poisonsets.victims.scoring.score import Score
    from poisonsets.victims.scoring.subject import ScorableTrial


def score(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A poison set; or whole shards: see --targets.")],
    protocol: Annotated[
        list[str] | None,
        in_what(
            autocompletion=names("protocols"), help="A protocol id of `poisonsets list protocols`; may be repeated."
        ),
    ] = None,
    suite: Annotated[
        list[str] | None, in_what(autocompletion=names("suites"), help="A suite of protocols; may be repeated.")
    ] = None,
    base: options.PinnedBase = None,
    targets: Annotated[
        Path | None, in_what(help="JSON: what to ask victims of shards without a manifest (third-party.md).")
    ] = None,
    source_class: Annotated[
        list[str] | None,
        in_what(metavar="CLASS", help="In its place: ask for all test images of this class; may be repeated."),
    ] = None,
    adversarial_label: Annotated[
        str | None, in_what(metavar="CLASS", help="What they are meant to be taken for.")
    ] = None,
    trigger: Annotated[
        str | None,
        in_triggers(help="Stamped on what victims of such shards are asked for (`poisonsets list triggers`)."),
    ] = None,
    trials: options.Trials = None,
    victim_seeds: Annotated[
        options.Numbers,
        in_trials(
            parser=options.numbers("--victim-seeds"),
            metavar="NUMBERS",
            help="One victim a trial for each of these seeds.",
        ),
    ] = (0,),
    extractor: Annotated[
        list[Path] | None,
        in_networks(help="What a victim starts from: FILE or FILE@input=96; may be repeated."),
    ] = None,
    feature_dtype: Annotated[
        Literal["fp16", "fp32"], in_networks(help="What remembered features of training images are rounded to.")
    ] = "fp16",
    precision: Annotated[
        options.Precision,
        in_networks(help="The arithmetic of features and whole networks' training; tf32 on a GPU."),
    ] = "fp32",
    shard: Annotated[
        options.Part | None,
        in_running(
            parser=options.part, metavar="I/N", help="Every N-th job, from the I-th on; give each shard its own -o."
        ),
    ] = None,
    workers: options.DeviceWorkers = None,
    resume: options.Resume = False,
    device: options.Devices = "auto",
    results: Annotated[Path | None, in_output("-o", "--output", help="Folder that keeps one row a victim.")] = None,
    trajectories: Annotated[
        bool, in_output("--trajectories", help="Keep each victim's course over its epochs beside the rows.")
    ] = False,
    keep_victims: Annotated[
        bool, in_output("--keep-victims", help="Keep each victim and clean control as a file beside the rows.")
    ] = False,
    fail_under: Annotated[
        Fraction | None,
        in_output(
            parser=options.share("--fail-under"),
            metavar="SHARE",
            help="Exit 1 where a success rate is below this share: 1/2, 0.5 or 50%.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        in_what(help="Predictions of a victim trained elsewhere on `export --queries` (.json, .npz): train none."),
    ] = None,
    victim: Annotated[str | None, in_what(help="What that victim is called. Default: the file's name.")] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Score a poison set: verify it, train victims and clean controls, report targeted misclassification."""
    _refuse_unkept(results, resume=resume, trajectories=trajectories, keep_victims=keep_victims)
    asked = TargetOptions(targets, tuple(source_class or ()), adversarial_label, trigger)
    found = context.with_resource(subject(path, base, asked, trials=trials, quiet=quiet, as_json=as_json))

    from poisonsets.victims.placement import worker_count
    from poisonsets.victims.precision import refuse_precision
    from poisonsets.victims.results.folder import refuse_used
    from poisonsets.victims.scoring.preflight import preflight
    from poisonsets.victims.scoring.score import score_set

    if results is not None:
        refuse_used(results, resume=resume)
    if predictions is not None:
        refuse_training(protocol=protocol, suite=suite, extractor=extractor, shard=shard, trajectories=trajectories)
        refuse_training(keep_victims=keep_victims, workers=workers)
        asked_of = Asked(victim, trials, victim_seeds)
        outcome = scored_predictions(predictions, found, asked_of, results=results, resume=resume)
        _end(outcome, found, fail_under, as_json=as_json)
        return
    where = computing_on(device)
    refuse_precision(precision, where)
    count = worker_count(workers, where)
    given = [read_network(file) for file in extractor or []]
    wanted = protocols(found.base, protocol or [], suite or [], [one.network.spec.shape for one in given])
    if found.whole is not None:
        wanted = training_sets.composed_as_they_stand(wanted, path, quiet=quiet)
    # Before the default network is trained, which takes longer than anything here.
    scored = preflight(found.opened, found.base, wanted, trials, given or None)
    extractors = given or default_extractors(found.base, wanted, tell=output.Teller(quiet))
    with output.progresses("scoring", "clean features", quiet=quiet) as (tick, sharing):
        outcome = score_set(
            found.opened,
            found.base,
            protocols=wanted,
            extractors=extractors,
            trials=trials,
            victim_seeds=victim_seeds,
            results=results,
            precision=precision,
            shard=shard or (0, 1),
            workers=count,
            resume=resume,
            trajectories=trajectories,
            keep_victims=keep_victims,
            cache=cache_folder(),
            features=feature_dtype,
            device=where,
            progress=tick,
            sharing=sharing,
        )
    _note_compositions(wanted, scored, quiet=quiet)
    _note_gpus(outcome)
    _end(outcome, found, fail_under, as_json=as_json)


def _refuse_unkept(results: Path | None, **wants: bool) -> None:
    if results is None and (given := [name for name, value in wants.items() if value]):
        option = "--" + given[0].replace("_", "-")
        raise UsageError(f"{option} needs a results folder, and there is none", "Name it with `-o FOLDER`")


def _end(outcome: Score, found: Subject, fail_under: Fraction | None, *, as_json: bool) -> None:
    _tell(outcome, found, as_json=as_json)
    if fail_under is not None and any(s.poisoned.successes < fail_under * s.poisoned.n for s in outcome.summaries):
        output.note(f"a success rate is below --fail-under {fail_under}")
        raise typer.Exit(1)


def _tell(outcome: Score, found: Subject, *, as_json: bool) -> None:
    whole = found.whole
    if as_json:
        contents = None if whole is None else training_sets.record(whole)
        output.document(document(outcome, found.path, found=contents, not_checked=found.not_checked))
        return
    slots = "poisons" if whole is None else "not the base's own"
    table(outcome, f"{found.path} ({found.attack})", slots=slots)
    if whole is not None:
        training_sets.tell(whole)


def _note_gpus(outcome: Score) -> None:
    models = sorted({row.gpu for row in outcome.rows if row.gpu is not None})
    if len(models) > 1:
        output.note(
            f"rows come from GPUs of {len(models)} models ({', '.join(models)}), which give different results; "
            "score into a new folder for rows of one"
        )


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
