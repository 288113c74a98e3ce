"""How a network is trained from scratch on clean images: every setting, and a digest of them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from poisonsets.manifests import canonical
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.victims import networks
from poisonsets.victims.decimals import network_width, plain_decimal
from poisonsets.victims.suggest import unknown

Role: TypeAlias = Literal["features", "robust"]


@dataclass(frozen=True)
class Recipe:
    """Every setting of training a network on the clean images of some classes.

    Attributes:
        network: a name of `networks.names()`.
        width: channel multiplier, decimal string.
        classes: labels to train on; output i of the head stands for classes[i].
        epochs: passes over the training images, at least 1.
        batch: images a step; the last step of an epoch takes what is left.
        learning_rate: of SGD, decimal string.
        drops: epochs (0-based, at their start) at which the learning rate is multiplied by `factor`.
        factor, momentum, weight_decay: decimal strings; decay acts on every parameter.
        pad: black pixels around an image before the random crop; 0 for no crop.
        flip: whether views are mirrored half the time.
        seed: of initial weights, order and views, 0..2**53.

    Raises:
        UsageError: a setting is out of range.
    """

    network: str
    classes: tuple[int, ...]
    epochs: int
    width: str = "1"
    batch: int = 128
    learning_rate: str = "0.1"
    drops: tuple[int, ...] = ()
    factor: str = "0.1"
    momentum: str = "0.9"
    weight_decay: str = "0.0002"
    pad: int = 4
    flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.network not in networks.names():
            raise unknown("network", self.network, networks.names())
        object.__setattr__(self, "width", network_width(self.width))
        for name in ("learning_rate", "factor", "momentum", "weight_decay"):
            object.__setattr__(self, name, plain_decimal(getattr(self, name), name))
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UsageError(f"classes are {list(self.classes)}, wanted at least one and none twice")
        for name, least in (("epochs", 1), ("batch", 1), ("pad", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}, wanted at least {least}")

    def record(self) -> dict[str, Any]:
        """Every setting as integers, strings, booleans and lists, for manifests and weight files."""
        record = asdict(self)
        return record | {"classes": list(self.classes), "drops": list(self.drops)}

    def digest(self, base_digest: str) -> str:
        """The sha256 that names what this recipe makes of a training split.

        Args:
            base_digest: the digest of the split (`Split.digest`).
        """
        return hashlib.sha256(canonical.dumps(["recipe/1", self.record(), base_digest])).hexdigest()


def default_recipe(base: Base, role: Role) -> Recipe | None:
    """The recipe that crafting and scoring use where no weights are given; None where a base names none.

    Args:
        base: only `digits` has one so far, trained on its `pretrain_classes`.
        role: `features` for a plain feature extractor, `robust` for an adversarially trained one.
    """
    if base.name == "digits" and role == "features":
        return Recipe("convnet", base.pretrain_classes, epochs=30, batch=32, learning_rate="0.05", drops=(20,))
    return None
