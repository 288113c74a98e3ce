"""`poisonsets craft`: make a poison set."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from poisonsets.cli import options, output
from poisonsets.cli.devices import computing_on
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_budget, in_networks, in_settings, in_trials, in_triggers
from poisonsets.door import classes
from poisonsets.door.bases import named_base, refuse_unknown
from poisonsets.door.networks import attackers
from poisonsets.door.words import set_name
from poisonsets.manifests import spelling

if TYPE_CHECKING:
    from poisonsets.crafting.driver import CraftSummary
    from poisonsets.registry import RegisteredAttack


def craft(
    attack: Annotated[
        str,
        typer.Argument(
            autocompletion=names("attacks"), help="Attack name or abbreviation (`poisonsets list attacks`)."
        ),
    ],
    *,
    base: options.BaseName,
    setup: Annotated[
        str | None, in_trials(autocompletion=names("setups"), help="A published setup by name or file (setups.md).")
    ] = None,
    trials: options.Trials = None,
    targets: Annotated[int | None, in_trials(min=1, help="Targets of one class a trial. Default: 1.")] = None,
    class_pair: Annotated[
        options.ClassPair | None,
        in_trials(parser=options.class_pair, metavar="ADVERSARIAL:TARGET", help="Both classes of every trial: 6:0."),
    ] = None,
    source_classes: Annotated[
        str | None,
        in_trials(
            metavar="CLASSES",
            help="Classes that targets are of, and a trigger acts on: 5,7 or all. Default: the target's; of "
            "patch-backdoor all.",
        ),
    ] = None,
    seed: Annotated[int, in_trials(min=0, max=2**53, help="Seed of the trials and of the attack.")] = 0,
    epsilon: options.Epsilon = 8,
    poisons: Annotated[int | None, in_budget(min=1, help="Poisons a trial. Default: 25.")] = None,
    rate: Annotated[
        Fraction | None,
        in_budget(
            parser=options.share("--rate", zero=False),
            metavar="SHARE",
            help="Poisons as a share of the training images of the adversarial class, rounded down: 1/10, 0.1 or 10%.",
        ),
    ] = None,
    candidates: Annotated[
        int | None, in_budget(min=1, help="Bases drawn a trial, of which the attack keeps --poisons.")
    ] = None,
    composition: Annotated[
        Literal["in-place", "add", "supplant"] | None,
        in_budget(
            help="How the poisons enter a training set; supplant takes as many images of the adversarial class out. "
            "Default: in-place; of patch-backdoor supplant."
        ),
    ] = None,
    trigger: Annotated[
        str | None, in_triggers(help="A backdoor's trigger (`poisonsets list triggers`). Default: the attack's own.")
    ] = None,
    surrogate: Annotated[
        list[Path] | None, in_networks(help="A network of the attacker; may be repeated, every trial has all of them.")
    ] = None,
    surrogate_pool: Annotated[
        list[Path] | None, in_networks(help="May be repeated; each trial draws one of them.")
    ] = None,
    include_surrogates: Annotated[
        bool, in_networks("--include-surrogates", help="Put the attacker's networks into the set.")
    ] = False,
    precision: Annotated[
        options.Precision, in_networks(help="The arithmetic of the surrogates' passes and retraining; tf32 on a GPU.")
    ] = "fp32",
    preset: Annotated[
        str,
        in_settings(autocompletion=names("presets"), help="Settings by name (`poisonsets list presets`) or TOML file."),
    ] = "published",
    setting: Annotated[
        list[str] | None,
        in_settings("--set", metavar="KEY=VALUE", help="A setting of the attack; may be repeated, wins over --preset."),
    ] = None,
    workers: options.DeviceWorkers = None,
    resume: options.Resume = False,
    device: options.Devices = "auto",
    out: options.SetFolder,
    name: options.SetName = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Craft a poison set: perturb or stamp training images so that a victim of them mislabels the target."""
    from poisonsets.manifests.sets import writer

    entry, settings = _settings(attack, preset, setting or [])
    writer.refuse_output(out, resume=resume)
    refuse_unknown(base)

    from poisonsets.crafting.driver import craft_set
    from poisonsets.crafting.planning import Draw, craft_request
    from poisonsets.victims.placement import worker_count
    from poisonsets.victims.precision import refuse_precision

    where = computing_on(device)
    refuse_precision(precision, where)
    count = worker_count(workers, where)
    opened = named_base(base)
    request = craft_request(
        entry,
        opened,
        name=set_name(name, out),
        settings=settings,
        setup=setup,
        trials=trials,
        epsilon=epsilon,
        composition=composition,
        trigger=trigger,
        seed=seed,
        precision=precision,
        asked=Draw(
            poisons=poisons,
            rate=None if rate is None else f"{rate.numerator}/{rate.denominator}",
            candidates=candidates,
            targets=targets,
            class_pair=None if class_pair is None else classes.pair(class_pair, opened),
            source_classes=classes.source_labels(source_classes, opened),
        ),
    )
    # Last, because the first default network of a base has to be trained.
    given = surrogate or [], surrogate_pool or []
    request = replace(
        request, surrogates=attackers(entry, opened, *given, include=include_surrogates, tell=output.Teller(quiet))
    )
    with output.progress(f"crafting {entry.name}", quiet=quiet) as report:
        done = craft_set(out, request, workers=count, device=where, resume=resume, progress=report)
    announce(done, out, as_json=as_json)


def _settings(attack: str, preset: str, given: list[str]) -> tuple[RegisteredAttack, dict[str, str]]:
    """The attack and its settings as typed, both checked without torch.

    Raises:
        UsageError: an unknown attack, preset or setting, or a value that is none.
        MissingError, DamagedError: a preset's file cannot be read.
    """
    from poisonsets import attacks
    from poisonsets.presets import preset_settings

    entry = attacks.find(attack)
    settings = {**preset_settings(preset, entry), **spelling.parse_pairs(given, "--set")}
    entry.settings(settings)
    return entry, settings


def announce(done: CraftSummary, out: Path, *, as_json: bool) -> None:
    """Say what came of crafting; refused trials make the exit code 1."""
    if as_json:
        output.document(
            {
                "schema_version": 1,
                "path": str(out),
                "content_digest": done.content_digest,
                "trials": done.trials,
                "trials_taken_over": done.taken_over,
                "refused": [{"trial": number, "reason": reason} for number, reason in done.refused],
            }
        )
    else:
        counted = f"{done.trials} trial{'' if done.trials == 1 else 's'}"
        print(f"{out}: {counted}, content digest {done.content_digest}")
    for number, reason in done.refused:
        output.note(f"trial {number} was refused: {reason}")
    output.debug(*done.tracebacks)
    if done.refused:
        raise typer.Exit(1)
