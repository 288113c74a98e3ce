"""Origin: draw the trials again from their seed, published rule or setup file, and compare."""

import hashlib
from collections import Counter
from collections.abc import Iterator

from poisonsets.manifests.errors import PoisonsetsError
from poisonsets.manifests.files.pixels import image_digest
from poisonsets.manifests.records.origin import DrawnSetup, FileSetup, NamedSetup
from poisonsets.manifests.records.trial import FileTarget, SplitTarget, Supplant
from poisonsets.manifests.sets.writer import MANIFEST
from poisonsets.manifests.trials.drawn import draw
from poisonsets.manifests.trials.plan import Plan
from poisonsets.manifests.trials.published import plan_trial
from poisonsets.manifests.verification.check_registry import check, check_set
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedSet, CheckedTrial


@check("V501")
def drawn_as_declared(trial: CheckedTrial) -> Iterator[Finding]:
    """Targets, source classes, adversarial label, bases and supplanted images are those that the setup gives."""
    setup = trial.poison_set.manifest.setup
    if not isinstance(setup, DrawnSetup | NamedSetup):
        return
    base, number = trial.base, trial.number
    by = f"seed {setup.seed} draws" if isinstance(setup, DrawnSetup) else f"setup {setup.name} has"
    try:
        plan = draw(base, setup, number) if isinstance(setup, DrawnSetup) else plan_trial(setup, base, number)
    except PoisonsetsError as error:
        yield trial.finding("V501", f"the declared setup cannot be drawn from this base: {error.message}")
        return
    record, rule = trial.record, trial.record.composition
    removed = tuple(rule.removed) if isinstance(rule, Supplant) else None
    for what, found, wanted in (
        ("target", _named(record.targets), _named(plan.targets)),
        ("source classes", list(record.source_classes), list(plan.source_classes)),
        ("adversarial label", record.adversarial_label, plan.adversarial_label),
        ("supplanted images", _few(removed), _few(plan.removed)),
    ):
        if found != wanted:
            yield trial.finding("V501", f"{what} {found}, but {by} {wanted}")
    yield from _bases(trial, plan, by)


@check_set("V502")
def setup_file_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """With --setup: a set that names a setup file by its digest names the one that was given."""
    declared, wanted = checked.opened.manifest.setup, checked.setup
    if wanted is None or not isinstance(declared, FileSetup):
        return
    if isinstance(wanted, NamedSetup):
        message = f"its trials are of the setup file {declared.name!r}, not of {wanted.name}"
        yield Finding("V502", message, part=MANIFEST)
    elif wanted.record.digest != declared.digest:
        message = f"its setup file has digest {declared.digest[:12]}..., {wanted.name!r} {wanted.record.digest[:12]}..."
        yield Finding("V502", message, part=MANIFEST)


@check("V503")
def as_the_given_setup(trial: CheckedTrial) -> Iterator[Finding]:
    """With --setup: targets, adversarial label, bases (in any order) and their number are those of its trial."""
    setup, number = trial.checked_set.setup, trial.number
    if setup is None:
        return
    try:
        plan = plan_trial(setup, trial.base, number)
    except PoisonsetsError as error:
        yield trial.finding("V503", f"the given setup has no such trial for this base: {error.message}")
        return
    found, wanted = trial.record.targets, plan.targets
    if len(found) != len(wanted) or not all(_same(trial, *pair) for pair in zip(found, wanted, strict=True)):
        yield trial.finding("V503", f"target {_named(found)}, but the setup has {_named(wanted)}")
    if trial.record.adversarial_label != plan.adversarial_label:
        message = f"adversarial label {trial.record.adversarial_label}, but the setup has {plan.adversarial_label}"
        yield trial.finding("V503", message)
    yield from _other_bases(trial, plan)


def _other_bases(trial: CheckedTrial, plan: Plan) -> Iterator[Finding]:
    """How a trial's bases differ from a setup's, in any order: victims do not see the order."""
    found: Counter[int | None] = Counter(trial.record.slots.bases)
    wanted: Counter[int | None] = Counter(plan.bases)
    if found.total() != wanted.total():
        yield trial.finding("V503", f"{found.total()} poisons, but the setup has {wanted.total()}")
    for what, bases in (
        ("in the setup and not in the trial", wanted - found),
        ("in the trial and not in the setup", found - wanted),
    ):
        if bases:
            first = next(iter(bases))
            example = "an unknown one" if first is None else f"train/{first}"
            yield trial.finding("V503", f"bases {what}: {bases.total()}, {example} for one")


def _bases(trial: CheckedTrial, plan: Plan, by: str) -> Iterator[Finding]:
    found = trial.record.slots.bases
    if len(found) != plan.keep:
        yield trial.finding("V501", f"{len(found)} poisons, but the setup has {plan.keep}")
    if plan.poisons is not None:
        remaining = iter(plan.bases)
        for slot, base in enumerate(found):
            if base is None or base not in remaining:  # consumes up to the base: they keep the order they were drawn in
                message = f"base train/{base} is not, or not in this order, among the {len(plan.bases)} candidates"
                yield trial.finding("V501", message, slot=slot)
                return
        return
    for slot, (base, drawn) in enumerate(zip(found, plan.bases, strict=False)):
        if base != drawn:
            yield trial.finding("V501", f"base train/{base}, but {by} train/{drawn}", slot=slot)


def _few(removed: tuple[int, ...] | None) -> str:
    """Supplanted images in a few words: their number, the first three and a digest."""
    if removed is None:
        return "none"
    digest = hashlib.sha256(",".join(map(str, removed)).encode()).hexdigest()[:8]
    return f"{len(removed)} ({', '.join(map(str, removed[:3]))}...; {digest})"


def _named(targets: tuple[SplitTarget | FileTarget, ...]) -> str:
    return ", ".join(one.image_id for one in targets) or "none"


def _same(trial: CheckedTrial, target: SplitTarget | FileTarget, wanted: SplitTarget) -> bool:
    """Whether a target is the setup's: by its index, or by its pixels where it is a file."""
    if not isinstance(target, FileTarget):
        return target == wanted
    image = trial.base.split(wanted.split).images[wanted.index]
    return target.pixels == image_digest(image, wanted.label)
