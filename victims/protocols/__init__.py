"""Every suite is one file of this folder; a protocol's id spells each setting that differs from its suite's.

A protocol is one network and every setting its victim is trained with: `cifar10-transfer/resnet18`, or with overrides
`cifar10-transfer/resnet18@epochs=20,width=0.25`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias, get_args

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import ByCount, Rule
from poisonsets.manifests.plugins import by_name, load_plugins
from poisonsets.manifests.records.trial import InPlace, Trial
from poisonsets.manifests.spelling import parse_decimal, parse_pairs, unknown
from poisonsets.victims import networks
from poisonsets.victims.networks.shape import Shape, full_name
from poisonsets.victims.protocols._spelling import KEYS, read, shown

CompositionName: TypeAlias = Literal["by-count", "trial", "in-place"]
Training: TypeAlias = Literal["frozen", "end-to-end", "scratch"]
Optimiser: TypeAlias = Literal["sgd", "adam", "adamw"]
Normalise: TypeAlias = Literal["own", "none", "cifar10", "tinyimagenet", "imagenet"]
Augment: TypeAlias = Literal["crop", "sub-pixel", "none"]
Head: TypeAlias = Literal["fresh", "kept"]


@dataclass(frozen=True)
class Protocol:
    """Every setting of a victim.

    Attributes:
        suite: the suite it belongs to.
        network: the victim's network.
        size: images of the training set under `by-count`, None under other compositions.
        flip: whether views are mirrored half the time.
        composition: `by-count` (the benchmark's), `trial` (each trial's own) or `in-place`.
        version: raised when the same settings come to mean something else.
        training: `frozen` trains a head on an extractor in eval mode; `end-to-end` trains extractor and head, with
            batch normalisation by the extractor's running statistics; `scratch` trains a new network.
        head: `fresh`, or `kept` where end-to-end training goes on with the extractor's own head.
        optimiser: `sgd`, `adam` (decay enters the gradient) or `adamw` (decay acts on the values).
        nesterov: Nesterov's form of the momentum; `sgd` only.
        epochs: passes over the training set.
        batch: images a step; the last, smaller batch of an epoch is used.
        lr_milestones: epochs (0-based, at their start) at which the learning rate is multiplied by `lr_gamma`.
        learning_rate, lr_gamma: decimal strings.
        momentum: of `sgd`; the first beta of the others, whose second is 0.999. Decimal string.
        weight_decay: decimal string; decay acts on everything that is trained.
        normalise: `own` is the extractor's normalisation, from scratch the mean and standard deviation of the base's
            training images of the victim's classes; `none` leaves pixels in 0..1; the other names, from scratch only,
            are the constants of `normalisation.CONSTANTS`.
        augment: `crop` shifts by whole pixels over black, `sub-pixel` continuously over the mean colour (Witches'
            Brew), `none` shows every image as it is.
        pad: the largest shift in pixels, 0 without augmentation.
        keep: the share of the clean training images that the victim has, decimal string above 0 and at most 1.
        flip_target: whether victims classify the mirror images of the targets.
        width: the network's channel multiplier, decimal string.
        input: the side, in pixels, that the network's first layer brings images to; None where they stay as they are.

    Raises:
        UsageError: a setting is out of range, or settings do not go together.
    """

    suite: str
    network: str
    size: int | None
    flip: bool
    composition: CompositionName = "by-count"
    version: int = 1
    training: Training = "frozen"
    head: Head = "fresh"
    optimiser: Optimiser = "sgd"
    nesterov: bool = False
    epochs: int = 40
    batch: int = 128
    learning_rate: str = "0.01"
    lr_milestones: tuple[int, ...] = (30,)
    lr_gamma: str = "0.1"
    momentum: str = "0.9"
    weight_decay: str = "0.0002"
    normalise: Normalise = "own"
    augment: Augment = "crop"
    pad: int = 4
    keep: str = "1"
    flip_target: bool = False
    width: str = "1"
    input: int | None = None

    def __post_init__(self) -> None:
        networks.refuse_unknown(self.network)
        for name, values in _CHOICES.items():
            if getattr(self, name) not in values:
                raise unknown(name, getattr(self, name), values)
        for name, value in vars(self.shape).items():
            object.__setattr__(self, "network" if name == "name" else name, value)
        for name in ("learning_rate", "lr_gamma", "momentum", "weight_decay", "keep"):
            object.__setattr__(self, name, parse_decimal(getattr(self, name), name))
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{name} is {value}, wanted {least} to {most}")
        object.__setattr__(self, "lr_milestones", tuple(sorted(set(self.lr_milestones))))
        if self.pad == 0 and not self.flip:
            object.__setattr__(self, "augment", "none")
        self._refuse_misfits()

    def _refuse_misfits(self) -> None:
        if (self.size is None) == (self.composition == "by-count"):
            found = f"composition {self.composition} with size {self.size}"
            raise UsageError(found, "Give a size with composition by-count, and only there")
        if not 0 < Decimal(self.keep) <= 1:
            raise UsageError(f"keep is {self.keep}, wanted above 0 and at most 1")
        if Decimal(self.momentum) >= 1:
            raise UsageError(f"momentum is {self.momentum}, wanted below 1")
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == "0"):
            found = f"nesterov with optimiser {self.optimiser} and momentum {self.momentum}"
            raise UsageError(found, "Use `optimiser=sgd` with a momentum above 0, or `nesterov=false`")
        if self.augment == "none" and (self.pad or self.flip):
            found = f"augment is none, with pad {self.pad} and flip {shown(self.flip)}"
            raise UsageError(found, "Add `augment=crop`, or neither")
        if self.training == "frozen" and self.augment == "sub-pixel":
            raise UsageError("sub-pixel views of a frozen extractor are not supported", "Use `augment=crop`")
        if self.training != "scratch" and self.normalise not in ("own", "none"):
            found = f"normalise is {self.normalise}, the extractor of {self.training} training has its own"
            raise UsageError(found, "Use `normalise=own`, or none where the extractor has none")
        if self.head == "kept" and self.training != "end-to-end":
            raise UsageError(f"head is kept in {self.training} training", "Use `training=end-to-end`, or `head=fresh`")

    @property
    def shape(self) -> Shape:
        """The network's architecture."""
        return Shape(self.network, self.width, self.input)

    @property
    def id(self) -> str:
        """The name `parse` reads: suite/network, then `@key=value,...` for what differs from the suite."""
        standard = _standard(self.suite, self.network)
        implied = ("pad", "flip") if self.augment == "none" else ()
        changed = [
            f"{key}={shown(getattr(self, key))}"
            for key in KEYS
            if key not in implied and getattr(self, key) not in (getattr(standard, key), None)
        ]
        return f"{self.suite}/{self.network}" + (f"@{','.join(changed)}" if changed else "")

    @property
    def batched(self) -> bool:
        """Whether many heads can be trained at a time: frozen, and plain SGD."""
        return self.training == "frozen" and self.optimiser == "sgd" and not self.nesterov

    def rule(self, trial: Trial) -> Rule:
        """The composition rule for a trial's training set."""
        if self.composition == "trial":
            return trial.composition
        return InPlace() if self.size is None else ByCount(self.size)

    def test_view(self, images: Images) -> Images:
        """What a victim classifies of images uint8 [K, H, W, 3]: `flip_target` mirrors them, any trigger included."""
        return images[:, :, ::-1].copy() if self.flip_target else images


def parse(text: str) -> Protocol:
    """The protocol with this id: a suite's settings for one of its networks, or for any other, with overrides.

    Overrides may come in any order and repeat a suite's own value. `composition=in-place` and `composition=trial` drop
    the suite's size, `augment=none` its pad and flip; `size=` goes with by-count.

    Raises:
        UsageError: an unknown suite, network, setting or value, settings that do not go together, or a suite whose
            networks each have their own settings, and a network that is none of them.
    """
    name, at, overrides = text.partition("@")
    suite_name, _, network = name.partition("/")
    pairs = parse_pairs(overrides.split(",") if at else (), f"protocol {text[:100]!r}")
    changes: dict[str, Any] = {key: read(key, value) for key, value in pairs.items()}
    standard = _standard(suite_name, network)
    if changes.get("composition", standard.composition) != "by-count":
        changes.setdefault("size", None)
    if changes.get("augment") == "none":
        changes = {"pad": 0, "flip": False} | changes
    found = replace(standard, **changes)
    if found.augment != changes.get("augment", found.augment):
        raise UsageError(
            f"augment={changes['augment']} with pad=0 and flip=false shows every image as it is",
            "Add for example `pad=4` or `flip=true`",
        )
    return found


def suites() -> tuple[str, ...]:
    """The names of all suites, sorted."""
    return tuple(_registry())


def suite(name: str) -> tuple[Protocol, ...]:
    """The protocols of a suite, with the suite's own settings; a UsageError where no suite has this name."""
    if name not in _registry():
        raise unknown("suite", name, suites())
    return _registry()[name]


def takes_any_network(name: str) -> bool:
    """Whether a suite has one choice of settings, for all of its networks and so for any other."""
    first, *others = suite(name)
    return all(replace(other, network=first.network) == first for other in others)


def follows_extractor(name: str) -> bool:
    """Whether a suite asked for as a whole has the networks of the extractors given in place of its own."""
    return suite(name)[0].suite in _following()


@cache
def _registry() -> Mapping[str, tuple[Protocol, ...]]:
    return by_name("suites", ((module.SUITE[0].suite, module, module.SUITE) for module in _modules()))


@cache
def _following() -> frozenset[str]:
    return frozenset(m.SUITE[0].suite for m in _modules() if getattr(m, "FOLLOWS_EXTRACTOR", False))


@cache
def _modules() -> tuple[ModuleType, ...]:
    return tuple(load_plugins(__name__, group="poisonsets.protocols", wanted="SUITE"))


def of_network(suite_name: str, shape: Shape) -> Protocol:
    """A suite's protocol for an architecture, whatever its name, width and input; raises as `parse`."""
    return replace(_standard(suite_name, shape.name), width=shape.width, input=shape.input)


def _standard(suite_name: str, network: str) -> Protocol:
    """The suite's own settings for a network, one of its members' or any other."""
    spelled = f"protocol {f'{suite_name}/{network}'.rstrip('/')[:100]!r}"
    try:
        members = suite(suite_name)
        if network:
            networks.refuse_unknown(network)
    except UsageError as error:
        raise UsageError(f"{spelled}: {error.message}", error.remedy) from error
    if not network:
        raise UsageError(f"{spelled} names no network", f"Write for instance {members[0].id}")
    name = full_name(network)
    for member in members:
        if member.network == name:
            return member
    if not takes_any_network(suite_name):
        known = [member.id for member in members]
        raise unknown("protocol", f"{suite_name}/{network}", known)
    return replace(members[0], network=name)


_CHOICES: Final = {
    "composition": get_args(CompositionName),
    "training": get_args(Training),
    "head": get_args(Head),
    "optimiser": get_args(Optimiser),
    "normalise": get_args(Normalise),
    "augment": get_args(Augment),
}
_RANGES: Final = (("epochs", 1, 10_000), ("batch", 1, 1 << 20), ("pad", 0, 64), ("size", 1, 10**8))
