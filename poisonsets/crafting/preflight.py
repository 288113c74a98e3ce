"""Checks before crafting: refuse requests that the attack, the base or the networks cannot meet."""

from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from poisonsets.crafting.request import TRIGGER, CraftRequest
from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.records.fields import Title, first_fault
from poisonsets.manifests.spelling import command, format_numbers
from poisonsets.surrogates import Weights, refuse_size


def preflight(request: CraftRequest) -> None:
    """Refuse a request that cannot be carried out, before anything is written.

    Raises:
        UsageError: trials missing or out of order; bases, labels or classes that do not suit the attack; a trigger it
            cannot use; a network for other images or labels; a name or setting that a manifest cannot record.
        MissingError: the attack needs a network or a trigger that was not given.
    """
    request.attack.factory(**request.settings)  # refuses settings that exclude one another
    _check_plans(request)
    _check_trigger(request)
    _check_networks(request)
    try:
        request.head()
        TypeAdapter(Title).validate_python(request.name, strict=True)
    except ValidationError as error:
        raise UsageError(f"a manifest cannot record {first_fault(error)}", "Change --name or the setting") from error


def _check_plans(request: CraftRequest) -> None:
    if not request.plans:
        raise UsageError("no trials to craft", "Give --trials, for instance 0-9")
    if len(request.plans) > limits.TRIALS:
        raise UsageError(f"{len(request.plans)} trials, a set holds at most {limits.TRIALS}", "Make several sets")
    numbers = [plan.trial for plan in request.plans]
    if numbers != sorted(set(numbers)):
        raise UsageError(f"trials {numbers[:20]} are not in ascending order, each once", "Sort them")
    traits = request.attack.traits
    for plan in request.plans:
        where = f"trial {plan.trial}: {request.attack.name}"
        labels = {int(request.base.train.labels[base]) for base in plan.bases}
        if traits.labels == "clean" and labels != {plan.adversarial_label}:
            raise UsageError(
                f"{where} keeps clean labels, but its bases are of classes {sorted(labels)} and the adversarial label "
                f"is {plan.adversarial_label}"
            )
        if traits.labels == "adversarial" and plan.adversarial_label in labels:
            raise UsageError(
                f"{where} changes labels, but a base is of the adversarial class {plan.adversarial_label} already",
                "Let it draw its trials (without --setup)",
            )
        if plan.keep < len(plan.bases) and not traits.selects:
            raise UsageError(f"{where} does not select among candidates", "Leave out --candidates")
        if (plan.removed is None) == (request.composition == "supplant"):
            raise UsageError(f"{where} uses composition {request.composition}, which does not match the trial's plan")


def _check_trigger(request: CraftRequest) -> None:
    wanted = TRIGGER in request.attack.traits.needs
    if request.trigger is None:
        if wanted:
            raise MissingError(f"{request.attack.name} needs a trigger", "Give --trigger, for instance --trigger patch")
        return
    if not wanted:
        raise UsageError(f"{request.attack.name} uses no trigger", "Leave out --trigger")
    trigger, spec = request.trigger
    if getattr(request.budget, "exempt_trigger", False) and trigger.record.kind != "patch":
        raise UsageError(
            f"--trigger {spec}: a trigger of kind {trigger.record.kind} cannot be exempt from the budget",
            f"Use a patch with alpha=1, or leave {request.attack.traits.exempting} on",
        )
    for plan in request.plans:
        if not plan.source_classes or plan.adversarial_label in plan.source_classes:
            raise UsageError(
                f"trial {plan.trial}: {request.attack.name} needs source classes without the adversarial label "
                f"{plan.adversarial_label}, found {list(plan.source_classes)}"
            )


def _check_networks(request: CraftRequest) -> None:
    needs = request.attack.traits.needs & {"features", "gradients", "robust"}
    if not needs:
        return
    if not request.surrogates.weights:
        raise MissingError(f"{request.attack.name} needs a surrogate network", _training(request.base))
    first = request.surrogates.weights[0].record["classes"]
    for one in request.surrogates.weights:
        if one.side not in (None, request.base.train.side):
            raise UsageError(
                f"{one.path}: trained on images of {one.side} pixels, but {request.base.name} has "
                f"{request.base.train.side}"
            )
        refuse_size(one.network, request.base.train.side)
        if needs - {"features"}:
            _check_classifier(request, one)
        if "robust" in needs and not one.record["pretraining"].get("adversary"):
            raise UsageError(
                f"{one.path}: not adversarially trained, as {request.attack.name} needs",
                _training(request.base, "--adversarial"),
            )
        if "robust" in needs and one.record["classes"] != first:
            raise UsageError(
                f"{one.path}: knows classes {_few(one.record['classes'])}, but {request.surrogates.weights[0].path} "
                f"knows {_few(first)}: their outputs cannot be averaged",
                "Give surrogates trained on the same classes",
            )


def _check_classifier(request: CraftRequest, one: Weights) -> None:
    """Refuse a network without the classes the attack needs: another base's classes, or too few of this one's."""
    trained_on, imported = one.record["provenance"].get("train"), one.record["pretraining"].get("imported")
    if trained_on not in (None, request.base.train.digest) or (imported and one.dataset != request.base.name):
        raise UsageError(
            f"{one.path}: trained on another base, whose class numbers differ in meaning from those of "
            f"{request.base.name}",
            _training(request.base),
        )
    asked: set[int] = set()
    for plan in request.plans:
        asked |= {plan.adversarial_label, *plan.source_classes, *(target.label for target in plan.targets)}
    if unknown := sorted(asked - set(one.record["classes"])):
        raise UsageError(
            f"{one.path}: knows classes {_few(one.record['classes'])}, but {request.attack.name} also needs class "
            f"{unknown[0]}",
            _training(request.base, "--classes", format_numbers(request.base.victim_classes)),
        )


def _training(base: Base, *flags: str) -> str:
    """The remedy that makes the attacker a network."""
    made = command("train", "--base", base.name, "--net", "resnet18", *flags, "-o", "weights.safetensors")
    return f"Train one: {made}, then add `--surrogate weights.safetensors`"


def _few(labels: Iterable[int]) -> str:
    listed = list(labels)
    return ",".join(map(str, listed[:10])) + (",..." if len(listed) > 10 else "")
