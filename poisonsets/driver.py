"""Craft a poison set: plans in, a finished set on disk out. The one driver of all attacks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from poisonsets import provenance, registry
from poisonsets.blocks import Block, Crafter, Result, partition
from poisonsets.interface import Budget
from poisonsets.manifests import canonical, limits, store, writer
from poisonsets.manifests.bases.dataset import Base, Images, pixel_digest
from poisonsets.manifests.checks import integrity
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError, ViolationError
from poisonsets.manifests.fields import Title
from poisonsets.manifests.model import Add, AttackRecord, InPlace, Outcome, SetupRecord, Slots, Trial
from poisonsets.manifests.reader import first_fault, open_set
from poisonsets.manifests.setups.plan import Plan
from poisonsets.pool import crafted
from poisonsets.surrogates import Surrogates

CURVE_POINTS = 21


@dataclass(frozen=True)
class Order:
    """Everything that decides what a set will hold.

    Attributes:
        name: the set's name.
        attack: the registered attack.
        settings: all of its settings.
        budget: the constraint every poison meets.
        composition: how the poisons enter the training set.
        base: the base dataset.
        setup: where the trials come from.
        plans: the trials, ascending.
        surrogates: the attacker's networks.
        seed: of the attack's randomness.
    """

    name: str
    attack: registry.Entry
    settings: Mapping[str, Any]
    budget: Budget
    composition: InPlace | Add
    base: Base
    setup: SetupRecord
    plans: tuple[Plan, ...]
    surrogates: Surrogates
    seed: int

    def head(self) -> dict[str, Any]:
        """The manifest's fields that are known before crafting."""
        settings = registry.recorded(self.settings)
        return {
            "name": self.name,
            "base": self.base.pin(),
            "setup": self.setup,
            "seed": self.seed,
            "attack": AttackRecord(name=self.attack.name, version=self.attack.version, settings=settings),
            "surrogates": self.surrogates.records((plan.trial for plan in self.plans), self.seed),
            "tool": provenance.tool(),
            "libraries": provenance.libraries(),
        }

    def request(self, device: str) -> dict[str, Any]:
        """What an unfinished set must have been ordered with to be resumed: the above and the device, in JSON."""
        fields = {key: _plain(value) for key, value in self.head().items()}
        fields["budget"] = self.budget.model_dump(mode="json")
        fields["composition"] = self.composition.rule
        fields["device"] = device
        fields["pool"] = self.surrogates.pool
        fields["trials"] = [plan.trial for plan in self.plans]
        return fields


@dataclass(frozen=True)
class Done:
    """What a crafting run came to.

    Attributes:
        content_digest: the set's identity.
        trials: how many trials the set has.
        taken_over: how many of them an interrupted run had finished.
        refused: for each refused trial its number and why.
    """

    content_digest: str
    trials: int
    taken_over: int
    refused: tuple[tuple[int, str], ...]


def craft_set(
    output: Path,
    order: Order,
    *,
    workers: int = 1,
    device: str = "cpu",
    resume: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Done:
    """Craft a set and write it.

    Equal orders give equal content digests on one machine, whatever the workers and interruptions.

    Args:
        output: the set's folder; it must not exist or be empty.
        order: what to craft.
        workers: processes to craft with; they share nothing but the order.
        device: where the attack runs.
        resume: go on with an unfinished set of the same order.
        progress: told (steps done, steps in all).

    Raises:
        UsageError: the order asks for something the attack or the base cannot give.
        MissingError: the output folder or a surrogate is refused.
        ViolationError: every trial was refused; nothing is left on disk then.
    """
    check(order)
    if resume and (output / writer.MANIFEST).exists():
        return _as_finished(output, order)
    watch = provenance.Stopwatch()
    with writer.writing(output, order.request(device), resume=resume) as unfinished:
        blocks = [block for block in _blocks(order) if not _finished(block, unfinished.finished)]
        taken_over = len(unfinished.finished)
        make = partial(Crafter, order.attack.name, dict(order.settings), order.budget, order.surrogates.files, device)
        refused: list[tuple[int, str]] = []
        for results in crafted(blocks, make, workers=workers, progress=progress):
            for result in results:
                if result.images is None:
                    refused.append((result.plan.trial, result.refusal))
                elif result.plan.trial not in unfinished.finished:
                    unfinished.add_trial(trial_record(order, result, result.images), result.images)
        if not unfinished.finished:
            shutil.rmtree(writer.unfinished(output), ignore_errors=True)  # nothing in it to go on with
            raise ViolationError(f"{output}: every trial was refused ({refused[0][1]}), so there is no set to write")
        run = watch.record(device=device, workers=workers, taken_over=taken_over, refused=refused)
        manifest = unfinished.publish(order.head(), run)
    return Done(manifest.content_digest, len(manifest.trials), taken_over, tuple(refused))


def _as_finished(output: Path, order: Order) -> Done:
    """What an earlier run of the same order came to, where it was stopped after its set was complete.

    Raises:
        MissingError: the folder holds a set of another order.
        DamagedError: the set is not whole.
    """
    opened = open_set(output)
    for finding in integrity.check_files(opened):
        raise DamagedError(f"{output}: {finding.place}: {finding.message}", "Remove the set and craft it again")
    manifest, trials = opened.manifest, opened.manifest.trials
    refused = _refused(output)
    same = all(getattr(manifest, key) == value for key, value in order.head().items())
    same &= {*(trial.trial for trial in trials), *(number for number, _ in refused)} == {
        plan.trial for plan in order.plans
    }
    same &= all((trial.constraint, trial.composition) == (order.budget, order.composition) for trial in trials)
    if not same:
        raise MissingError(
            f"{output}: the output folder holds a set that was made by another command", "Choose another output folder"
        )
    partial = writer.unfinished(output)
    if not (partial / writer.PAYLOAD).exists():
        shutil.rmtree(partial, ignore_errors=True)
    return Done(manifest.content_digest, len(trials), len(trials), refused)


def _refused(output: Path) -> tuple[tuple[int, str], ...]:
    """The trials that a finished set's run record says were refused, and why."""
    run = canonical.loads(store.read_file(output / writer.RUN, limits.RUN_BYTES), writer.RUN)
    return tuple((int(number), str(reason)) for number, reason in run.get("refused", {}).items())


def check(order: Order) -> None:
    """Refuse an order that cannot be carried out, before anything is written.

    Raises:
        UsageError: no trials, or not in ascending order; a network is needed and none given, or it takes other
            images; a name or setting that a manifest cannot say; bases that are not of the adversarial class.
    """
    if not order.plans:
        raise UsageError("no trials to craft", "Give --trials, for instance 0-9")
    if len(order.plans) > limits.TRIALS:
        raise UsageError(f"{len(order.plans)} trials, a set holds at most {limits.TRIALS}", "Make several sets")
    numbers = [plan.trial for plan in order.plans]
    if numbers != sorted(set(numbers)):
        raise UsageError(f"trials {numbers[:20]} are not in ascending order, each once", "Sort them")
    unmet = sorted(order.attack.traits.needs - {"features"})
    if unmet:
        raise UsageError(f"{order.attack.name} needs {', '.join(unmet)}, which crafting does not offer yet")
    if "features" in order.attack.traits.needs and not order.surrogates.weights:
        raise UsageError(f"{order.attack.name} needs a surrogate network", "Give --surrogate FILE")
    for one in order.surrogates.weights:
        if one.side not in (None, order.base.train.side):
            raise UsageError(
                f"{one.path}: trained on images of {one.side} pixels, those of {order.base.name} have "
                f"{order.base.train.side}"
            )
    try:
        order.head()
        TypeAdapter(Title).validate_python(order.name, strict=True)
    except ValidationError as error:
        raise UsageError(f"no manifest can say this: {first_fault(error)}", "Change --name or the setting") from error
    for plan in order.plans:
        labels = {int(order.base.train.labels[base]) for base in plan.bases}
        if order.attack.traits.labels == "clean" and labels != {plan.adversarial_label}:
            raise UsageError(
                f"trial {plan.trial}: {order.attack.name} keeps clean labels, but its bases are of classes "
                f"{sorted(labels)} and the adversarial label is {plan.adversarial_label}"
            )


def trial_record(order: Order, result: Result, images: Images) -> Trial:
    """The manifest's record of a crafted trial."""
    plan = result.plan
    labels = (plan.adversarial_label,) * len(plan.bases)
    moved = (images != order.base.train.images[list(plan.bases)]).any(axis=(1, 2, 3))
    curve = _thinned(result.history)
    return Trial(
        trial=plan.trial,
        targets=plan.targets,
        adversarial_label=plan.adversarial_label,
        labels=order.attack.traits.labels,
        constraint=order.budget,
        composition=order.composition,
        slots=Slots(bases=plan.bases, labels=labels),
        pixels=pixel_digest(images, np.array(labels, dtype=np.int64)),
        outcome=Outcome(moved=int(moved.sum()), objective=tuple(f"{value:.6g}" for value in curve)),
    )


def _blocks(order: Order) -> list[Block]:
    batched = order.attack.traits.batched
    return list(
        partition(
            order.plans,
            order.base,
            attack=order.attack.name,
            seed=order.seed,
            batched=batched,
            surrogates=order.surrogates,
        )
    )


def _finished(block: Block, finished: Mapping[int, Trial]) -> bool:
    return all(plan.trial in finished for plan in block.plans)


def _thinned(history: Sequence[float]) -> list[float]:
    """At most 21 points of a curve, the first and the last among them."""
    if len(history) <= CURVE_POINTS:
        return list(history)
    return [history[round(i * (len(history) - 1) / (CURVE_POINTS - 1))] for i in range(CURVE_POINTS)]


def _plain(value: Any) -> Any:
    """A manifest field as JSON."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
