"""`poisonsets craft`: make a poison set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import MissingError, UsageError

if TYPE_CHECKING:
    from poisonsets.driver import Done
    from poisonsets.interface import Budget
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.model import SetupRecord
    from poisonsets.manifests.setups.plan import Plan
    from poisonsets.registry import Entry
    from poisonsets.surrogates import Surrogates
    from poisonsets.victims.weights import Weights

LAST_TRIAL = 99_999  # five digits in the name of a shard


def craft(
    attack: Annotated[str, typer.Argument(help="Attack name or abbreviation (`list attacks`).")],
    base: options.BaseName,
    out: Annotated[Path, typer.Option("-o", "--output", help="The set's folder; must be empty or new.")],
    setup: Annotated[Path | None, typer.Option(help="A published setup file instead of drawn trials.")] = None,
    trials: Annotated[
        str | None, typer.Option(help="Which trials: 0-9, 3, 0-4,7. Default 0-9, or a file's all.")
    ] = None,
    epsilon: Annotated[str, typer.Option(help="l-infinity budget in whole levels of 255.")] = "8",
    poisons: Annotated[int | None, typer.Option(min=1, help="Poisons a trial. Default 25.")] = None,
    rate: Annotated[str | None, typer.Option(help="Poisons as a share of the base class, for instance 1/10.")] = None,
    class_pair: Annotated[str | None, typer.Option(help="BASE:TARGET classes of every trial.")] = None,
    source_classes: Annotated[str | None, typer.Option(help="Classes that targets are drawn from.")] = None,
    surrogate: Annotated[list[Path] | None, typer.Option(help="A network of the attacker; may be repeated.")] = None,
    surrogate_pool: Annotated[
        list[Path] | None, typer.Option(help="Each trial draws one of these; may be repeated.")
    ] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="A setting of the attack, key=value.")] = None,
    composition: Annotated[str, typer.Option(help="in-place or add: how poisons enter the training set.")] = "in-place",
    name: Annotated[str | None, typer.Option(help="The set's name. Default: the output folder's.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed of trials and of the attack.")] = 0,
    workers: options.Workers = 1,
    resume: options.Resume = False,
    device: options.Device = "auto",
    holdout: options.Holdout = None,
    split_seed: options.SplitSeed = 0,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Craft a poison set: perturb base images so that a victim training on them mislabels the target."""
    budget = linf(epsilon)  # cheap refusals first: nothing is loaded for a mistyped option
    settings = options.assignments(setting or [])
    chosen = None if trials is None else ranges.parsed(trials, "--trials")
    if chosen is not None and chosen[-1] > LAST_TRIAL:
        raise UsageError(f"--trials {trials}: trial {chosen[-1]} is outside 0-{LAST_TRIAL}")
    if rate is not None and not re.fullmatch(r"[1-9][0-9]{0,8}/[1-9][0-9]{0,8}", rate):
        raise UsageError(f"--rate {rate}: not a share of the base class", "Write it like 1/10")
    if composition not in ("in-place", "add"):
        raise UsageError(f"--composition {composition}: not in-place or add")

    from poisonsets import registry
    from poisonsets.driver import Order, craft_set
    from poisonsets.manifests import writer
    from poisonsets.manifests.bases.cache import open_base
    from poisonsets.manifests.model import Add, InPlace
    from poisonsets.victims.device import resolve

    entry = registry.find(attack)
    resolved = registry.settings_of(entry, settings)
    writer.refuse_output(out, resume=resume)
    where = str(resolve(device))
    opened = open_base(base, cache=options.cache_folder(), holdout=holdout, split_seed=split_seed, resize=resize)
    record, plans = planned(
        opened,
        setup=setup,
        trials=chosen,
        seed=seed,
        poisons=poisons,
        rate=rate,
        class_pair=class_pair,
        source_classes=source_classes,
    )
    order = Order(
        name=name or re.sub(r"[^A-Za-z0-9._-]", "-", out.resolve().name).lstrip("._-")[:200] or entry.name,
        attack=entry,
        settings=resolved,
        budget=budget,
        composition=Add() if composition == "add" else InPlace(),
        base=opened,
        setup=record,
        plans=plans,
        surrogates=networks(entry, opened, surrogate or [], surrogate_pool or [], quiet=quiet),
        seed=seed,
    )
    with output.progress(f"crafting {entry.name}", quiet=quiet) as report:
        done = craft_set(out, order, workers=workers, device=where, resume=resume, progress=report)
    announce(done, out, as_json=as_json)


def linf(epsilon: str) -> Budget:
    """The l-infinity budget of an `--epsilon`."""
    from poisonsets.manifests.model import Linf

    return Linf(levels=options.levels(epsilon))


def planned(
    base: Base,
    *,
    setup: Path | None,
    trials: list[int] | None,
    seed: int,
    poisons: int | None,
    rate: str | None,
    class_pair: str | None,
    source_classes: str | None,
) -> tuple[SetupRecord, tuple[Plan, ...]]:
    """Where the trials come from, and the trials themselves.

    Raises:
        UsageError: options that exclude one another, or a trial that the setup or the base does not have.
    """
    from pydantic import ValidationError

    from poisonsets.manifests.model import DrawnSetup
    from poisonsets.manifests.setups.drawn import draw
    from poisonsets.manifests.setups.published import read_setup

    if setup is not None:
        if poisons or rate or class_pair or source_classes:
            raise UsageError("--setup fixes the trials", "Leave out --poisons, --rate, --class-pair, --source-classes")
        file = read_setup(setup)
        numbers = range(len(file.entries)) if trials is None else trials
        return file.record, tuple(file.plan(base, number) for number in numbers)
    if poisons and rate:
        raise UsageError("--poisons and --rate are two ways of saying one thing", "Give one of them")
    try:
        record = DrawnSetup(
            seed=seed,
            poisons=None if rate else poisons or 25,
            rate=rate,
            class_pair=None if class_pair is None else options.pair(class_pair),
            source_classes=() if source_classes is None else tuple(ranges.parsed(source_classes, "--source-classes")),
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise UsageError(
            f"--{'-'.join(map(str, fault['loc']))}: {fault['msg']}", "See `poisonsets craft --help`"
        ) from error
    return record, tuple(draw(base, record, number) for number in trials or range(10))


def networks(entry: Entry, base: Base, given: list[Path], pool: list[Path], *, quiet: bool) -> Surrogates:
    """The attacker's networks: the files given, or the base's default recipe.

    Raises:
        UsageError: both kinds of surrogates were given.
        MissingError: the attack needs a network and the base has no default one.
    """
    from poisonsets.surrogates import Surrogates
    from poisonsets.victims.weights import load_weights

    if given and pool:
        raise UsageError("--surrogate and --surrogate-pool exclude one another", "Give one of them")
    if "features" not in entry.traits.needs:
        if given or pool:
            raise UsageError(f"{entry.name} uses no network", "Leave out --surrogate and --surrogate-pool")
        return Surrogates()
    if given or pool:
        return Surrogates(tuple(load_weights(path) for path in given or pool), pool=bool(pool))
    return Surrogates((default_network(base, "--surrogate", quiet=quiet),))


def default_network(base: Base, option: str, *, quiet: bool) -> Weights:
    """The network of a base's default recipe, trained the first time.

    Args:
        base: the base.
        option: the option that names a network instead, for the error.
        quiet: say nothing about it.

    Raises:
        MissingError: the base has no default recipe.
    """
    import torch

    from poisonsets.victims.recipes import default_recipe
    from poisonsets.victims.training import cached_weights

    recipe = default_recipe(base, "features")
    if recipe is None:
        raise MissingError(
            f"a network is needed and the base {base.name} has no default one",
            f"Type: poisonsets train --base {base.name} --net resnet18 -o weights.safetensors, then {option} it",
        )
    with output.progress(f"training the default {base.name} network", quiet=quiet) as report:
        weights = cached_weights(recipe, base, options.cache_folder(), device=torch.device("cpu"), progress=report)
    output.note(
        f"using the default network of {base.name}: {recipe.network} trained on classes "
        f"{ranges.spelled(recipe.classes)} ({weights.digest[:12]}...)",
        quiet=quiet,
    )
    return weights


def announce(done: Done, out: Path, *, as_json: bool) -> None:
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
