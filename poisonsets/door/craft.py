"""`poisonsets.craft`: make a poison set on disk, and open it."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from poisonsets import attacks
from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.door import classes
from poisonsets.door.bases import named_base
from poisonsets.door.errors import speaks_python
from poisonsets.door.networks import attackers
from poisonsets.door.open_set import open_set
from poisonsets.door.poison_set import PoisonSet
from poisonsets.door.tell import Logged
from poisonsets.door.words import listed, set_name, spelled
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.sets import writer
from poisonsets.manifests.spelling import parse_share
from poisonsets.presets import preset_settings
from poisonsets.surrogates import Precision
from poisonsets.victims.placement import resolve_all, worker_count


class RefusedTrialWarning(UserWarning):
    """A trial was refused; the set has the others."""


@speaks_python
def craft(
    attack: str,
    *,
    base: str | Base,
    out: str | Path,
    name: str | None = None,
    setup: str | None = None,
    trials: Sequence[int] | None = None,
    targets: int | None = None,
    class_pair: tuple[int | str, int | str] | None = None,
    source_classes: Sequence[int | str] | Literal["all"] | None = None,
    seed: int = 0,
    epsilon: int | None = 8,
    poisons: int | None = None,
    rate: str | float | None = None,
    candidates: int | None = None,
    composition: Literal["in-place", "add", "supplant"] | None = None,
    trigger: str | None = None,
    surrogate: str | Path | Sequence[str | Path] = (),
    surrogate_pool: str | Path | Sequence[str | Path] = (),
    include_surrogates: bool = False,
    precision: Precision = "fp32",
    preset: str = "published",
    workers: int = 1,
    resume: bool = False,
    device: str = "auto",
    **settings: object,
) -> PoisonSet:
    """Craft a poison set, write it to disk, and open what was written.

    Args:
        attack: name or abbreviation, see `list_attacks`.
        base: the name of a base, or an open one.
        out: the set's new folder.
        name: the set's name; None takes the folder's.
        setup: a published setup, by name or file.
        trials: numbers of the trials; None takes 0-9, or all of a setup.
        targets: targets of one class a trial; None takes 1.
        class_pair: (adversarial class, target class) of every trial, by label or name.
        source_classes: classes that targets are of, and a trigger acts on.
        seed: of the trials and of the attack.
        epsilon: the l-infinity radius in levels of 255; None for no constraint.
        poisons: per trial; None takes 25.
        rate: poisons as a share of the adversarial class's training images: `"10%"`, `"1/10"` or 0.1.
        candidates: bases drawn a trial, of which the attack keeps `poisons`.
        composition: how the poisons enter a training set; None takes the attack's own.
        trigger: a backdoor's; None takes the attack's own.
        surrogate: the attacker's networks, files or names; without any, the base's default one.
        surrogate_pool: in its place; each trial draws one.
        include_surrogates: put the networks into the set.
        precision: of the surrogates' passes.
        preset: settings by name.
        workers: processes.
        resume: go on with an interrupted set.
        device: `auto`, `cpu`, `cuda`, or a list `cuda:0,cuda:1`.
        **settings: the attack's own, which win over the preset: `steps=100`.

    Raises:
        UsageError: an unknown attack, base or setting, or values that exclude one another.
        MissingError: a base, network or device is missing, or the folder is refused.
        ViolationError: every trial was refused.

    Warns:
        RefusedTrialWarning: a trial was refused.
    """
    folder = Path(out)
    entry = attacks.find(attack)
    chosen = {**preset_settings(preset, entry), **{key: spelled(value) for key, value in settings.items()}}
    entry.settings(chosen)
    writer.refuse_output(folder, resume=resume)
    where = resolve_all(device)
    opened = named_base(base) if isinstance(base, str) else base
    share = None if rate is None else parse_share(str(rate), "--rate")
    request = craft_request(
        entry,
        opened,
        name=set_name(name, folder),
        settings=chosen,
        setup=setup,
        trials=trials,
        epsilon=epsilon,
        composition=composition,
        trigger=trigger,
        seed=seed,
        precision=precision,
        asked=Draw(
            poisons=poisons,
            rate=None if share is None else f"{share.numerator}/{share.denominator}",
            candidates=candidates,
            targets=targets,
            class_pair=None if class_pair is None else classes.pair((str(class_pair[0]), str(class_pair[1])), opened),
            source_classes=classes.source_labels(None if source_classes is None else spelled(source_classes), opened),
        ),
    )
    networks = [Path(one) for one in listed(surrogate)], [Path(one) for one in listed(surrogate_pool)]
    given = attackers(entry, opened, *networks, include=include_surrogates, tell=Logged())
    done = craft_set(
        folder, replace(request, surrogates=given), workers=worker_count(workers, where), device=where, resume=resume
    )
    for number, reason in done.refused:
        warnings.warn(f"trial {number} was refused: {reason}", RefusedTrialWarning, stacklevel=3)
    return open_set(folder)
