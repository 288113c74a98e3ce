"""Resolve a foreign trial against its base and setup: what the manifest will say of it, or why it cannot.

This decides what the files mean; `verify` decides whether the claims hold, as for any set.
"""

from collections import Counter
from dataclasses import dataclass

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.interop import units
from poisonsets.manifests.interop.format import ForeignTarget, ForeignTrial
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.target_search import Match, find_match, match_at
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.manifests.records.trial import Slots, SplitTarget
from poisonsets.manifests.trials.plan import Plan
from poisonsets.manifests.trials.published import PublishedSetup, plan_trial
from poisonsets.manifests.verification.findings import Finding


@dataclass(frozen=True)
class PixelTarget:
    """A target that is no test image: uint8 [H, W, 3] and its true label."""

    image: Images
    label: int


@dataclass(frozen=True)
class ResolvedTrial:
    """A trial that a manifest can express: uint8 [P, H, W, 3], and at least one target or source class."""

    images: Images
    slots: Slots
    adversarial_label: int
    targets: tuple[SplitTarget | PixelTarget, ...]
    source_classes: tuple[int, ...]
    trigger: Trigger | None
    hints: tuple[Finding, ...]


class UnresolvedError(Exception):
    """The trial cannot be imported; `finding` says why, without a trial number."""

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.finding = Finding(code, message, remedy)


def resolve(trial: ForeignTrial, number: int, base: Base, claims: Claims) -> ResolvedTrial:
    """What the manifest will say of a trial, whose number is also its number in the setup.

    Raises:
        UnresolvedError: the trial contradicts itself, the base or the setup, or lacks what no claim supplies.
        UsageError: the unit of its values is ambiguous, or claimed wrongly.
        DamagedError: its values cannot be pixels.
    """
    plan = None if claims.setup is None else _plan(claims.setup, base, number)
    bases, hints = _bases(trial, plan, base)
    images, more = _images(trial, bases, base, claims)
    labels = tuple(
        int(base.train.labels[index]) if label is None and index is not None else label
        for label, index in zip(trial.labels, bases, strict=True)
    )
    _check_label(base, "a poison's label", *(label for label in labels if label is not None))
    adversarial = _adversarial(trial, plan, labels, base, claims)
    slots = tuple(adversarial if label is None else label for label in labels)
    targets = []
    for one in _targets(trial, plan, claims):
        target, odd = _target(one, plan, base, claims)
        targets.append(target)
        hints += odd
    return ResolvedTrial(
        images=images,
        slots=Slots(bases=bases, labels=slots),
        adversarial_label=adversarial,
        targets=tuple(targets),
        source_classes=_sources(trial, targets, base),
        trigger=trial.trigger,
        hints=(*trial.hints, *hints, *more),
    )


def _plan(setup: PublishedSetup, base: Base, number: int) -> Plan:
    try:
        return plan_trial(setup, base, number)
    except UsageError as error:
        reason = error.message.removeprefix(f"trial {number} ").removeprefix(f"trial {number}: ")
        raise UnresolvedError("V702", f"the setup {setup.name} has no such trial of this base: {reason}") from error


def _bases(trial: ForeignTrial, plan: Plan | None, base: Base) -> tuple[tuple[int | None, ...], list[Finding]]:
    count = len(trial.pixels)
    if not 1 <= count <= limits.SLOTS_PER_TRIAL:
        raise UnresolvedError("V701", f"{count} poisons, 1 to {limits.SLOTS_PER_TRIAL} can be imported")
    if trial.bases is None and plan is not None:
        if len(plan.bases) != count:
            raise UnresolvedError("V702", f"{count} poisons, the setup has {len(plan.bases)} bases")
        return plan.bases, [Finding("H701", "the files name no bases: the setup's are taken, in its order")]
    if trial.bases is None:
        return (None,) * count, [Finding("H701", "the files name no bases, so no constraint can hold")]
    if len(trial.bases) != count:
        raise UnresolvedError("V701", f"{count} poisons for {len(trial.bases)} base indices")
    known = [index for index in trial.bases if index is not None]
    outside = [index for index in known if not 0 <= index < len(base.train.labels)]
    if outside:
        message = f"base index {outside[0]} is outside 0-{len(base.train.labels) - 1} of {base.name}"
        raise UnresolvedError("V701", message)
    if plan is not None and sorted(known) != sorted(plan.bases):
        shared = (Counter(known) & Counter(plan.bases)).total()
        raise UnresolvedError("V702", f"its bases are not those of the setup: {shared} of {len(plan.bases)} are")
    unknown = count - len(known)
    return trial.bases, [Finding("H701", f"{unknown} poisons have no base")] if unknown else []


def _images(
    trial: ForeignTrial, bases: tuple[int | None, ...], base: Base, claims: Claims
) -> tuple[Images, tuple[Finding, ...]]:
    found, side = trial.pixels.shape[1:3], base.train.side
    if found != side:
        message = f"images of {found[1]}x{found[0]} pixels, those of {base.name} have {side[1]}x{side[0]}"
        raise UnresolvedError("V703", message)
    if trial.adds and None in bases:
        raise UnresolvedError("V701", "differences, but no bases are named", "Give --setup")
    unit = units.unit_of(trial.pixels, claims.unit, adds=trial.adds, where="its pixels")
    under = base.train.images[[index for index in bases if index is not None]] if trial.adds else None
    return units.levels_in(trial.pixels, unit, under)


def _adversarial(
    trial: ForeignTrial, plan: Plan | None, labels: tuple[int | None, ...], base: Base, claims: Claims
) -> int:
    planned = None if plan is None else plan.adversarial_label
    stated = (claims.adversarial_label, planned, trial.adversarial_label)
    found = next((label for label in stated if label is not None), None)
    if found is None:
        among = sorted({label for label in labels if label is not None})
        if len(among) != 1:
            few = ", ".join(map(str, among[:5]))
            raise UnresolvedError("V704", f"the poisons have {len(among)} labels ({few})", "Give --adversarial-label")
        found = among[0]
    _check_label(base, "the adversarial label", found)
    return found


def _targets(trial: ForeignTrial, plan: Plan | None, claims: Claims) -> tuple[ForeignTarget, ...]:
    if any(one.image is not None or one.index is not None for one in trial.targets):
        if len(trial.targets) > limits.TARGETS_PER_TRIAL:
            message = f"{len(trial.targets)} targets, at most {limits.TARGETS_PER_TRIAL} can be imported"
            raise UnresolvedError("V705", message)
        return trial.targets
    if plan is not None:
        return tuple(ForeignTarget(index=one.index, label=one.label) for one in plan.targets)
    if claims.target is not None:
        return (ForeignTarget(index=claims.target),)
    if trial.source_classes and not trial.targets:
        return ()
    what = "a target without pixels and without an index" if trial.targets else "no target"
    raise UnresolvedError("V705", what, "Give --setup or --target")


def _target(
    one: ForeignTarget, plan: Plan | None, base: Base, claims: Claims
) -> tuple[SplitTarget | PixelTarget, list[Finding]]:
    labels = base.test.labels
    if one.index is not None and not 0 <= one.index < len(labels):
        raise UnresolvedError("V705", f"target index {one.index} is outside 0-{len(labels) - 1} of the test split")
    if one.image is None:
        if one.index is None:
            raise UnresolvedError("V705", "a target without pixels and without an index, beside others that have them")
        return SplitTarget(split="test", index=one.index, label=_true(one, one.index, base)), []
    if one.image.shape[:2] != base.train.side:
        height, width = one.image.shape[:2]
        raise UnresolvedError("V703", f"a target of {width}x{height} pixels, the base's images have {base.train.side}")
    found, hints = _found(one, one.image, plan, base)
    if found is not None and found.exact:
        return SplitTarget(split="test", index=found.index, label=_true(one, found.index, base)), hints
    label = one.label if found is None or one.label is not None else int(labels[found.index])
    if label is None and claims.target is not None:  # an altered copy of the image that the user names
        if not 0 <= claims.target < len(labels):
            message = f"target index {claims.target} is outside 0-{len(labels) - 1} of the test split"
            raise UnresolvedError("V705", message)
        label = int(labels[claims.target])
    if label is None:
        remedy = "Give --target, the test image that it was made from"
        raise UnresolvedError("V704", "its target is no test image and has no label", remedy)
    _check_label(base, "the target's label", label)
    return PixelTarget(one.image, label), hints


def _true(one: ForeignTarget, index: int, base: Base) -> int:
    label = int(base.test.labels[index]) if one.label is None else one.label
    _check_label(base, "the target's label", label)
    return label


def _found(one: ForeignTarget, image: Images, plan: Plan | None, base: Base) -> tuple[Match | None, list[Finding]]:
    """The test image that a target shows, and hints."""
    images = base.test.images
    if plan is not None:
        stated = [match_at(images, image, target.index) for target in plan.targets]
        found = next((match for match in stated if match is not None), None)
        if found is None:
            raise UnresolvedError("V702", "its target is not the setup's test image")
    else:
        found = (None if one.index is None else match_at(images, image, one.index)) or find_match(images, image)
    if found is None:
        return None, [Finding("H703", "its target is no test image of the base; it keeps its own pixels")]
    if not found.exact:
        text = "its target is a test image with values one level lower (published code truncates): it keeps its own"
        return found, [Finding("H703", f"{text} pixels")]
    if one.index is not None and found.index != one.index:
        return found, [Finding("H703", "its target is another test image than its name says")]
    return found, []


def _check_label(base: Base, what: str, *labels: int) -> None:
    outside = [label for label in labels if not 0 <= label < len(base.classes)]
    if outside:
        message = f"{what} is {outside[0]}, the classes of {base.name} are 0-{len(base.classes) - 1}"
        raise UnresolvedError("V704", message)


def _sources(trial: ForeignTrial, targets: list[SplitTarget | PixelTarget], base: Base) -> tuple[int, ...]:
    """The source classes that the files name, else those of a backdoor's targets."""
    _check_label(base, "a source class", *trial.source_classes)
    if trial.trigger is None:
        return trial.source_classes
    try:
        stamp(base.train.images[0], trial.trigger, "train/0")
    except UsageError as error:
        raise UnresolvedError("V703", error.message) from error
    return trial.source_classes or tuple(sorted({one.label for one in targets}))
