"""Every setting of training a network from scratch on clean images, and a digest of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.records.origin import Precision
from poisonsets.manifests.spelling import parse_decimal, unknown
from poisonsets.victims import networks
from poisonsets.victims.networks.shape import Shape

Role: TypeAlias = Literal["features", "classifier", "robust"]
Normalise: TypeAlias = Literal["own", "none"]


@dataclass(frozen=True)
class Pretraining:
    """Every setting of training a network on the clean images of some classes.

    Attributes:
        network: a name that `networks.build` knows.
        width: channel multiplier, decimal string.
        classes: labels to train on; output i of the head stands for classes[i].
        epochs: passes over the training images, at least 1.
        batch: images a step; the last step of an epoch takes what is left.
        learning_rate: of SGD, decimal string.
        lr_milestones: epochs (0-based, at their start) at which the learning rate is multiplied by `lr_gamma`.
        lr_gamma, momentum, weight_decay: decimal strings; decay acts on every parameter.
        pad: black pixels around an image before the random crop; 0 for no crop.
        flip: whether views are mirrored half the time.
        seed: of initial weights, order, views, masks and starts, 0..2**53.
        dropout: the share of every block's output values that each step drops (`networks.dropout`), a decimal string
            below 1.
        images: how many training images are used, equally many of each class and the first ones in the split's order; 0
            for all.
        adversary: the l-infinity radius, in levels of 255, of the examples that replace every training image
            (`adversarial.py`); 0 for plain training.
        adversary_steps: ascent steps an example takes; 0 exactly where `adversary` is.
        adversary_step: how far a step moves a value, in levels, decimal string; "0" exactly where `adversary` is.
        normalise: `own` for the training images' mean and standard deviation of each channel; `none` leaves pixels in
            0..1.
        input: the side, in pixels, that the network's first layer brings images to; None where they stay as they are.
        precision: of the passes in training (`victims.precision`); accuracies are measured in float32.

    Raises:
        UsageError: a setting is out of range.
    """

    network: str
    classes: tuple[int, ...]
    epochs: int
    width: str = "1"
    batch: int = 128
    learning_rate: str = "0.1"
    lr_milestones: tuple[int, ...] = ()
    lr_gamma: str = "0.1"
    momentum: str = "0.9"
    weight_decay: str = "0.0002"
    pad: int = 4
    flip: bool = False
    seed: int = 0
    dropout: str = "0"
    images: int = 0
    adversary: int = 0
    adversary_steps: int = 0
    adversary_step: str = "0"
    normalise: Normalise = "own"
    input: int | None = None
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        networks.refuse_unknown(self.network)
        for name, known in (("normalise", get_args(Normalise)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        for name, value in vars(self.shape).items():
            object.__setattr__(self, "network" if name == "name" else name, value)
        for name in ("learning_rate", "lr_gamma", "momentum", "weight_decay", "dropout", "adversary_step"):
            object.__setattr__(self, name, parse_decimal(getattr(self, name), name))
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UsageError(f"classes are {list(self.classes)}, wanted at least one and none twice")
        for name, least in (("epochs", 1), ("batch", 1), ("pad", 0), ("seed", 0), ("images", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}, wanted at least {least}")
        if Decimal(self.dropout) >= 1:
            raise UsageError(f"dropout is {self.dropout}, wanted below 1")
        if self.images % len(self.classes):
            raise UsageError(f"images is {self.images}, no multiple of the {len(self.classes)} classes")
        self._refuse_adversary()

    def _refuse_adversary(self) -> None:
        if not 0 <= self.adversary <= 255:
            raise UsageError(f"the adversary's radius is {self.adversary} levels, wanted 0..255")
        if self.adversary and (self.adversary_steps < 1 or self.adversary_step == "0"):
            raise UsageError(
                f"an adversary of radius {self.adversary} takes {self.adversary_steps} steps of "
                f"{self.adversary_step} levels",
                "Give it at least one step, longer than 0",
            )
        if not self.adversary and (self.adversary_steps or self.adversary_step != "0"):
            raise UsageError("steps of an adversary without a radius", "Give the adversary a radius of 1..255 levels")

    @property
    def shape(self) -> Shape:
        """The network's architecture."""
        return Shape(self.network, self.width, self.input)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Pretraining:
        """The pretraining whose `record` a manifest or weights file holds; lists may have become tuples.

        A record of an earlier version may lack `normalise`, which means `own`, and `precision`, which means `fp32`; one
        without `input` gives none.

        Raises:
            DamagedError: another setting is missing, unknown, of the wrong kind or out of range.
            UsageError: the weights were imported, so that nobody can repeat it.
        """
        if record.get("imported"):
            raise UsageError(
                "imported weights cannot be trained again as they were", "Give weights that were trained here"
            )
        wanted: dict[str, type] = {field.name: type(field.default) for field in fields(cls)}
        wanted |= {"network": str, "classes": tuple, "epochs": int, "input": int}
        values: dict[str, Any] = {"normalise": "own", "precision": "fp32"}
        if "input" not in record:
            del wanted["input"]
        values |= {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        remedy = "Train the network again with this version"
        for name in sorted(wanted.keys() ^ values.keys()):
            raise DamagedError(f"a pretraining {'without' if name in wanted else 'with'} {name[:80]!r}", remedy)
        for name, kind in wanted.items():
            value = values[name]
            numbers = list(value) if isinstance(value, tuple) else []
            if type(value) is not kind or any(type(item) is not int for item in numbers):
                raise DamagedError(f"a pretraining whose {name} is {str(value)[:80]!r}", remedy)
        try:
            return cls(**values)
        except UsageError as error:
            raise DamagedError(f"an invalid pretraining: {error.message}", error.remedy) from error

    def record(self) -> dict[str, Any]:
        """Every setting as integers, strings, booleans and lists, for manifests and weights files; None is left out."""
        record = {name: value for name, value in asdict(self).items() if value is not None}
        return record | {"classes": list(self.classes), "lr_milestones": list(self.lr_milestones)}

    def digest(self, base_digest: str) -> str:
        """The sha256 that names the result of this pretraining on a training split, given `Split.digest`."""
        return hashlib.sha256(canonical_json.dumps(["pretraining/1", self.record(), base_digest])).hexdigest()


def default_pretraining(base: Base, role: Role) -> Pretraining | None:
    """The pretraining for crafting and scoring without given weights; None for every base but `digits`.

    Args:
        base: the base dataset.
        role: `features` for an extractor trained on the base's `pretrain_classes`; `classifier` for a network that
            tells the victims' classes apart, `robust` for an adversarially trained one.
    """
    if base.name != "digits":
        return None
    classes = base.pretrain_classes if role == "features" else base.victim_classes
    plain = Pretraining("convnet", classes, epochs=30, batch=32, learning_rate="0.05", lr_milestones=(20,))
    if role != "robust":
        return plain
    return replace(plain, epochs=20, lr_milestones=(14,), adversary=32, adversary_steps=5, adversary_step="10")
