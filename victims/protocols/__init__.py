"""Every suite is one file of this folder; a protocol's id spells each setting that is not its suite's own.

A protocol is one network and every setting its victim is trained with: `cifar10-transfer/resnet18`, or with
overrides `cifar10-transfer/resnet18@epochs=20,width=0.25`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from poisonsets.manifests.compose import ByCount, Rule
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.model import InPlace, Trial
from poisonsets.manifests.suggest import unknown
from poisonsets.victims import networks
from poisonsets.victims.decimals import network_width, plain_decimal

CompositionName: TypeAlias = Literal["by-count", "trial", "in-place"]
_COMPOSITIONS: Final = ("by-count", "in-place", "trial")


@dataclass(frozen=True)
class Protocol:
    """Every setting of a victim with a frozen feature extractor.

    Attributes:
        suite: the suite it belongs to.
        network: the extractor's network.
        size: images of the training set under `by-count`, None under other compositions.
        flip: whether views are mirrored half the time.
        composition: `by-count` (the benchmark's), `trial` (each trial's own) or `in-place`.
        version: raised when the same settings come to mean something else.
        epochs: passes over the training set.
        batch: images a step; the last, smaller batch of an epoch is used.
        learning_rate: of SGD, decimal string.
        drops: epochs (0-based, at their start) at which the learning rate is multiplied by `factor`.
        factor, momentum, weight_decay: decimal strings; decay acts on the head's weights and biases.
        pad: black pixels around an image before the random crop.
        width: the extractor's channel multiplier, decimal string.

    Raises:
        UsageError: a setting is out of range, or size and composition do not go together.
    """

    suite: str
    network: str
    size: int | None
    flip: bool
    composition: CompositionName = "by-count"
    version: int = 1
    epochs: int = 40
    batch: int = 128
    learning_rate: str = "0.01"
    drops: tuple[int, ...] = (30,)
    factor: str = "0.1"
    momentum: str = "0.9"
    weight_decay: str = "0.0002"
    pad: int = 4
    width: str = "1"

    def __post_init__(self) -> None:
        networks.refuse_unknown(self.network)
        if self.composition not in _COMPOSITIONS:
            raise unknown("composition", self.composition, _COMPOSITIONS)
        if (self.size is None) == (self.composition == "by-count"):
            found = f"composition {self.composition} with size {self.size}"
            raise UsageError(found, "Give a size with composition by-count, and only there")
        object.__setattr__(self, "width", network_width(self.width))
        for name in ("learning_rate", "factor", "momentum", "weight_decay"):
            object.__setattr__(self, name, plain_decimal(getattr(self, name), name))
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{name} is {value}, wanted {least} to {most}")
        object.__setattr__(self, "drops", tuple(sorted(set(self.drops))))

    @property
    def id(self) -> str:
        """The name `parse` reads: suite/network, then `@key=value,...` for what differs from the suite."""
        standard = _standard(self.suite, self.network)
        changed = [
            f"{key}={_shown(getattr(self, key))}"
            for key in sorted(_READERS)
            if getattr(self, key) not in (getattr(standard, key), None)
        ]
        return f"{self.suite}/{self.network}" + (f"@{','.join(changed)}" if changed else "")

    def rule(self, trial: Trial) -> Rule:
        """The composition rule for a trial's training set."""
        if self.composition == "trial":
            return trial.composition
        return InPlace() if self.size is None else ByCount(self.size)


def parse(text: str) -> Protocol:
    """The protocol with this id; overrides may come in any order and repeat a suite's own value.

    `composition=in-place` and `composition=trial` drop the suite's size; `size=` goes with by-count.

    Raises:
        UsageError: an unknown suite, network, setting or value, or settings that do not go together.
    """
    name, at, overrides = text.partition("@")
    suite_name, _, network = name.partition("/")
    changes: dict[str, Any] = {}
    for override in overrides.split(",") if at else ():
        key, _, value = override.partition("=")
        if key in changes:
            raise UsageError(f"protocol {text[:100]!r} sets {key} twice")
        changes[key] = _read(key, value)
    standard = _standard(suite_name, network)
    if changes.get("composition", standard.composition) != "by-count":
        changes.setdefault("size", None)
    return replace(standard, **changes)


def suites() -> tuple[str, ...]:
    """The names of all suites, sorted."""
    return tuple(sorted(_registry()))


def suite(name: str) -> tuple[Protocol, ...]:
    """The protocols of a suite, with the suite's own settings.

    Raises:
        UsageError: no suite has this name.
    """
    if name not in _registry():
        raise unknown("suite", name, suites())
    return _registry()[name]


@cache
def _registry() -> dict[str, tuple[Protocol, ...]]:
    found: dict[str, tuple[Protocol, ...]] = {}
    for module in pkgutil.iter_modules(__path__):
        members: tuple[Protocol, ...] = importlib.import_module(f"{__name__}.{module.name}").SUITE
        found[members[0].suite] = members
    return found


def _standard(suite_name: str, network: str) -> Protocol:
    known = {f"{member.suite}/{member.network}": member for name in suites() for member in suite(name)}
    name = f"{suite_name}/{network}"
    if name not in known:
        raise unknown("protocol", name.rstrip("/"), known)
    return known[name]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "+".join(str(item) for item in value) or "none"
    return str(value)


def _read(key: str, text: str) -> Any:
    if key not in _READERS:
        raise unknown("protocol setting", key, _READERS)
    reader, example = _READERS[key]
    try:
        return reader(text)
    except (ValueError, KeyError) as error:
        raise UsageError(f"{key}={text[:40]} has no meaning", f"Write for example {key}={example}") from error


def _whole(text: str) -> int:
    # int() alone would take signs, spaces, underscores and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(text)
    return int(text)


def _epochs(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(_whole(part) for part in text.split("+"))


_RANGES: Final = (("epochs", 1, 10_000), ("batch", 1, 1 << 20), ("pad", 0, 16), ("size", 1, 10**8))
_READERS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "batch": (_whole, "128"),
    "composition": (str, "in-place"),
    "drops": (_epochs, "20+30"),
    "epochs": (_whole, "40"),
    "factor": (str, "0.1"),
    "flip": ({"true": True, "false": False}.__getitem__, "true"),
    "learning_rate": (str, "0.01"),
    "momentum": (str, "0.9"),
    "pad": (_whole, "4"),
    "size": (_whole, "500"),
    "weight_decay": (str, "0.0002"),
    "width": (str, "0.25"),
}
