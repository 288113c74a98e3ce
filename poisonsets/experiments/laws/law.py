"""A law: what it promises, which attacks it binds, and what was seen where one breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from poisonsets.registry import RegisteredAttack, Traits, raised_at

Check: TypeAlias = Callable[[RegisteredAttack], None]
Binds: TypeAlias = Callable[[Traits], bool]


class BrokenLaw(Exception):  # noqa: N818  no error: a verdict
    """An attack does not keep a law.

    Args:
        seen: what it did.
        wanted: what the law wants.
    """

    def __init__(self, seen: str, wanted: str) -> None:
        self.seen, self.wanted = seen, wanted
        super().__init__(f"{seen}; wanted {wanted}")


@dataclass(frozen=True)
class Law:
    """A law of attacks.

    Attributes:
        name: a few words.
        binds: whether it applies to an attack of these traits.
        check: raises BrokenLaw where the attack does not keep it.
    """

    name: str
    binds: Binds
    check: Check

    @property
    def promise(self) -> str:
        """What is promised: the first line of the check's docstring."""
        return (self.check.__doc__ or "").strip().splitlines()[0].removesuffix(".")


@dataclass(frozen=True)
class Verdict:
    """What a law says of an attack; `seen` and `wanted` are empty but for a broken one."""

    law: Law
    state: Literal["held", "broken", "not applicable"]
    seen: str = ""
    wanted: str = ""


LAWS: dict[str, Law] = {}


def law(name: str, binds: Binds = lambda traits: True) -> Callable[[Check], Check]:
    """Make a function a law for the attacks whose traits it binds; without a condition it binds all."""

    def register(check: Check) -> Check:
        LAWS[name] = Law(name, binds, check)
        return check

    return register


def hold(holds: bool, seen: str, wanted: str) -> None:
    """Raise BrokenLaw unless it holds."""
    if not holds:
        raise BrokenLaw(seen, wanted)


def judge(entry: RegisteredAttack, laws: Iterable[Law]) -> list[Verdict]:
    """A verdict on an attack for each law; an attack that raises breaks the law it was run for."""
    return [_judged(entry, one) for one in laws]


def _judged(entry: RegisteredAttack, one: Law) -> Verdict:
    if not one.binds(entry.traits):
        return Verdict(one, "not applicable")
    try:
        one.check(entry)
    except BrokenLaw as broken:
        return Verdict(one, "broken", broken.seen, broken.wanted)
    except Exception as error:  # noqa: BLE001  whatever an attack raises is its author's to read
        place = raised_at(error, entry.factory)
        return Verdict(one, "broken", f"it raised {type(error).__name__}: {error}{place}", "no exception")
    return Verdict(one, "held")
