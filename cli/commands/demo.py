"""`poisonsets demo`: the whole loop on handwritten digits, with a table and a picture, in a few minutes on a CPU."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from poisonsets.cli import options, output
from poisonsets.cli.demo_settings import AIMED, DemoSetting, installed, network_of, protocol_of
from poisonsets.cli.devices import computing_on
from poisonsets.cli.options import in_budget, in_output, in_trials
from poisonsets.cli.reports import checked
from poisonsets.cli.score_table import clean_cell, rate_cell
from poisonsets.door.bases import named_base
from poisonsets.door.cache import cache_folder
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.spelling import command

if TYPE_CHECKING:
    from poisonsets.crafting.request import CraftRequest
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.victims.networks.weights import Weights
    from poisonsets.victims.protocols import Protocol
    from poisonsets.victims.scoring.score import Score

TRIALS = 20


@dataclass(frozen=True)
class Step:
    """One attack of the demo: its score and how long both halves took, in seconds."""

    attack: str
    folder: Path
    score: Score
    crafting: float
    scoring: float


def demo(
    out: Annotated[
        Path | None, in_output("-o", "--output", help="New folder. Default: poisonsets-demo, numbered.")
    ] = None,
    trials_per_attack: Annotated[int, in_trials(min=1, max=1000, help="Trials of each attack.")] = TRIALS,
    seed: Annotated[int, in_trials(min=0, max=2**53, help="Seed of the trials and of the attacks.")] = 0,
    epsilon: Annotated[
        int | None,
        in_budget(
            parser=options.levels,
            metavar="LEVELS",
            help="The l-infinity budget in whole levels of 255. Default: 8, or 32 without the pretrained network.",
        ),
    ] = None,
    workers: options.Workers = 2,
    quiet: options.Quiet = False,
) -> None:
    """Craft, verify and score three attacks on handwritten digits; writes sets, results and a picture."""
    from poisonsets.manifests.files import store

    folder = out or _unused(Path("poisonsets-demo"))
    store.refuse_nonempty(folder)
    store.refuse_unwritable(folder)
    base, setting = named_base("digits"), installed(quiet=quiet)
    if epsilon is not None:
        setting = replace(setting, epsilon=epsilon)
    network = network_of(setting, base, quiet=quiet)
    requests = [_request(attack, base, network, setting, range(trials_per_attack), seed) for attack in setting.attacks]
    protocol = protocol_of(setting, network)
    steps = [_step(request, folder, network, protocol, workers=workers, quiet=quiet) for request in requests]
    _table(steps, setting, network)
    picture = folder / "poisons.png"
    _picture(steps, base, picture)
    print(_conclusion(steps, setting))
    aimed = next(step for step in steps if step.attack == AIMED)
    print(
        f"Sets, rows and the picture {picture.name} are in {folder}/. Try:\n"
        f"  {shlex.join(['poisonsets', 'show', str(aimed.folder)])}\n"
        f"  {shlex.join(['poisonsets', 'verify', str(aimed.folder)])}"
    )


def _request(attack: str, base: Base, network: Weights, setting: DemoSetting, trials: range, seed: int) -> CraftRequest:
    """The set of one attack: the same trials for every attack."""
    from poisonsets.crafting.planning import Draw, craft_request
    from poisonsets.surrogates import Surrogates

    request = craft_request(
        attack,
        base,
        name=f"digits-{attack}",
        settings=setting.attacks[attack],
        trials=trials,
        epsilon=setting.epsilon,
        seed=seed,
        asked=Draw(poisons=setting.poisons),
    )
    needed = "features" in request.attack.traits.needs
    return replace(request, surrogates=Surrogates((network,))) if needed else request


def _step(
    request: CraftRequest, folder: Path, network: Weights, protocol: Protocol, *, workers: int, quiet: bool
) -> Step:
    """Craft one set, verify what is on disk, score what is on disk."""
    from poisonsets.crafting.driver import craft_set
    from poisonsets.manifests.sets.reader import open_set
    from poisonsets.victims.scoring.score import score_set

    attack = request.attack.name
    path = folder / attack
    started = time.perf_counter()
    with output.progress(f"crafting {attack}", quiet=quiet) as report:
        craft_set(path, request, workers=workers, progress=report)
    crafting = time.perf_counter() - started
    if not checked(path, lambda pin: request.base, quiet=quiet).clean:
        raise ViolationError(f"{path}: the set just written does not verify", f"Type {command('verify', path)}")
    started = time.perf_counter()
    with output.progress(f"scoring {attack}", quiet=quiet) as report:
        score = score_set(
            open_set(path),
            request.base,
            protocols=[protocol],
            extractors=[network],
            results=folder / f"{attack}-results",
            cache=cache_folder(),
            device=computing_on("cpu")[0],
            progress=report,
        )
    return Step(attack, path, score, crafting, time.perf_counter() - started)


def _table(steps: list[Step], setting: DemoSetting, network: Weights) -> None:
    from poisonsets.victims.results.summary import METRIC

    rows = []
    for step in steps:
        summary = step.score.summaries[0]
        rows.append(
            (
                step.attack,
                str(summary.poisoned.n),
                f"{setting.poisons} at {setting.epsilon}/255",
                rate_cell(summary.poisoned),
                rate_cell(summary.control, summary.distinct_controls),
                clean_cell(summary),
                f"{step.crafting:.1f}",
                f"{step.scoring:.1f}",
            )
        )
    columns = (
        *("attack", "n", "budget", f"{METRIC} [95 % interval]", "the same of the clean control"),
        *("clean accuracy: victim / control", "crafting s", "scoring s"),
    )
    images = steps[0].score.rows[0].training_images
    known = network.dataset if setting.pretrained else "digits 0-4"
    title = (
        f"Digits 5-9, {images} training images, of which {setting.poisons} of one class are poisons.\n"
        f"Victims are linear heads on the attacker's own network, trained on {known} (white-box)."
    )
    output.table(title, columns, rows)


def _conclusion(steps: list[Step], setting: DemoSetting) -> str:
    """One sentence of what was seen, and one of where it ends."""
    summary = next(step.score.summaries[0] for step in steps if step.attack == AIMED)
    row = steps[0].score.rows[0]
    found, control = summary.poisoned, summary.control
    clean = "" if control is None else f" Victims of the clean images call {control.successes} of them that."
    limits = (
        "They see images as they are; victims that shift them resist most such poisons (docs/results/digits.md)."
        if setting.pretrained
        else "Digits are easy to tell apart, so a small network needs large budgets; try --epsilon 8."
    )
    return (
        f"{setting.poisons} of {row.training_images} training images, correctly labelled and changed by at most "
        f"{setting.epsilon} of 255 levels, make victims\ncall {found.successes} of {found.n} chosen images what the "
        f"attacker wants.{clean}\n{limits}"
    )


def _picture(steps: list[Step], base: Base, path: Path) -> None:
    """The bullseye set's first trials, successes first."""
    from poisonsets.cli import picture
    from poisonsets.manifests.sets.reader import open_set

    step = next(step for step in steps if step.attack == AIMED)
    rows = sorted(step.score.rows, key=lambda row: (not row.success, row.trial))[:3]
    shown = [
        picture.Row(
            row.trial,
            f"trial {row.trial}: a {row.targets[0].label} that shall be called {row.targets[0].adversarial_label}, "
            f"is called {row.targets[0].predicted_poisoned} (clean: {row.targets[0].predicted_control})",
        )
        for row in rows
    ]
    picture.draw(open_set(step.folder), base, path, shown)


def _unused(wanted: Path) -> Path:
    """The folder's name, or the first numbered one that is not there."""
    number = 1
    path = wanted
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path
