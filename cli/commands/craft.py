"""`poisonsets craft`: make a poison set."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.cli.bases import named_base, refuse_unknown
from poisonsets.cli.default_networks import attackers
from poisonsets.manifests import limits, spelling
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.crafting.driver import CraftSummary
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.trials.plan import CompositionRule
    from poisonsets.surrogates import Precision

RULES: tuple[CompositionRule, ...] = ("in-place", "add", "supplant")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
EVERY = "all"


def craft(
    attack: Annotated[str, typer.Argument(help="Attack name or abbreviation (`list attacks`).")],
    base: options.BaseName,
    out: Annotated[Path, typer.Option("-o", "--output", help="The set's folder; must be empty or new.")],
    setup: Annotated[
        str | None, typer.Option(help="A published setup by name or file (`list setups`) instead of drawn trials.")
    ] = None,
    trials: Annotated[
        str | None, typer.Option(help="Which trials: 0-9, 3, 0-4,7. Default 0-9, or a setup's all.")
    ] = None,
    epsilon: Annotated[str, typer.Option(help="l-infinity budget in whole levels of 255, or none.")] = "8",
    poisons: Annotated[int | None, typer.Option(min=1, help="Poisons a trial. Default 25.")] = None,
    rate: Annotated[str | None, typer.Option(help="Poisons as a share of the adversarial class: 1/10.")] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Bases drawn a trial, of which the attack keeps --poisons.")
    ] = None,
    targets: Annotated[int | None, typer.Option(min=1, help="Targets of one class a trial. Default 1.")] = None,
    class_pair: Annotated[str | None, typer.Option(help="ADVERSARIAL:TARGET classes of every trial.")] = None,
    source_classes: Annotated[
        str | None, typer.Option(help="Classes that targets are of, and a trigger acts on: 5,7 or all.")
    ] = None,
    trigger: Annotated[
        str | None,
        typer.Option(
            help="A backdoor's trigger: KIND[,key=value...] (`list triggers`). Default: the attack's own, a patch."
        ),
    ] = None,
    surrogate: Annotated[list[Path] | None, typer.Option(help="A network of the attacker; may be repeated.")] = None,
    surrogate_pool: Annotated[
        list[Path] | None, typer.Option(help="Each trial draws one of these; may be repeated.")
    ] = None,
    include_surrogates: Annotated[
        bool, typer.Option("--include-surrogates", help="Put the attacker's networks into the set.")
    ] = False,
    preset: Annotated[
        str, typer.Option(help="Settings by name or TOML file (`list presets`); --set overrides them.")
    ] = "published",
    setting: Annotated[list[str] | None, typer.Option("--set", help="A setting of the attack, key=value.")] = None,
    composition: Annotated[
        str | None, typer.Option(help="in-place, add or supplant. Default: in-place; of patch-backdoor supplant.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16: arithmetic of the surrogates' passes.")] = "fp32",
    name: Annotated[str | None, typer.Option(help="The set's name. Default: the output folder's.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed of trials and of the attack.")] = 0,
    workers: options.Workers = 1,
    resume: options.Resume = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Craft a poison set: perturb or stamp training images so that a victim of them mislabels the target."""
    # Cheap refusals first: nothing is loaded for a mistyped option.
    levels = None if epsilon == "none" else options.levels(epsilon)
    given = spelling.parse_pairs(setting or [], "--set")
    chosen = None if trials is None else spelling.parse_numbers(trials, "--trials")
    if chosen is not None and chosen[-1] > limits.LAST_TRIAL:
        raise UsageError(f"--trials {trials}: trial {chosen[-1]} is outside 0-{limits.LAST_TRIAL}")
    if rate is not None and not re.fullmatch(r"[1-9][0-9]{0,8}/[1-9][0-9]{0,8}", rate):
        raise UsageError(f"--rate {rate}: not a share of the adversarial class", "Write it like 1/10")
    rule = options.choice("--composition", composition, RULES)
    passes = options.choice("--precision", precision, PRECISIONS)
    refuse_unknown(base)

    from poisonsets import attacks
    from poisonsets.crafting.driver import craft_set
    from poisonsets.crafting.planning import Draw, craft_request
    from poisonsets.manifests.sets import writer
    from poisonsets.presets import preset_settings
    from poisonsets.victims.device import resolve

    entry = attacks.find(attack)
    settings = {**preset_settings(preset, entry), **given}
    entry.factory(**entry.settings(settings))
    writer.refuse_output(out, resume=resume)
    where = str(resolve(device))
    opened = named_base(base)
    request = craft_request(
        entry,
        opened,
        name=name or re.sub(r"[^A-Za-z0-9._-]", "-", out.resolve().name).lstrip("._-")[:200],
        settings=settings,
        setup=setup,
        trials=chosen,
        epsilon=levels,
        composition=rule,
        trigger=trigger,
        seed=seed,
        precision=passes or "fp32",
        asked=Draw(
            poisons=poisons,
            rate=rate,
            candidates=candidates,
            targets=targets,
            class_pair=None if class_pair is None else options.pair(class_pair),
            source_classes=_classes(source_classes, opened),
        ),
    )
    # Last, because the first default network of a base has to be trained.
    given_networks = surrogate or [], surrogate_pool or []
    networks = attackers(entry, opened, *given_networks, include=include_surrogates, quiet=quiet)
    request = replace(request, surrogates=networks)
    with output.progress(f"crafting {entry.name}", quiet=quiet) as report:
        done = craft_set(out, request, workers=workers, device=where, resume=resume, progress=report)
    announce(done, out, as_json=as_json)


def _classes(text: str | None, base: Base) -> tuple[int, ...] | None:
    if text is None:
        return None
    return base.victim_classes if text == EVERY else tuple(spelling.parse_numbers(text, "--source-classes"))


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
        print(f"{out}: {done.trials} trials, content digest {done.content_digest}")
    for number, reason in done.refused:
        output.note(f"trial {number} was refused: {reason}")
    if done.refused:
        raise typer.Exit(1)
