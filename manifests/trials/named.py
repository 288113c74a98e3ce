"""Published trials that are computed rather than read: printed seeds and a rule give targets and bases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.origin import NamedSetup
from poisonsets.manifests.trials import witches_brew
from poisonsets.manifests.trials.plan import Plan

Rule: TypeAlias = Callable[[Base, int], Plan]
RULES: Final[dict[str, tuple[int, Rule]]] = {"witches-brew-cifar10": (len(witches_brew.CASES), witches_brew.case)}
"""By name: how many trials there are, and the rule that gives trial n of a base."""


def trials_of(name: str) -> int:
    """How many trials a named setup has. Raises UsageError where there is none of that name."""
    if name not in RULES:
        raise UsageError(f"there is no setup called {name[:80]!r}", f"Known are {', '.join(RULES)}, or a file")
    return RULES[name][0]


def compute(base: Base, record: NamedSetup, number: int) -> Plan:
    """Trial `number` (0-based) of a named setup; of a backdoor the target's class is the trial's source class.

    Raises UsageError where there is no such setup or trial, or the base is not the one it was published for.
    """
    count = trials_of(record.name)
    if not 0 <= number < count:
        raise UsageError(f"trial {number} is outside 0-{count - 1} of {record.name}")
    plan = RULES[record.name][1](base, number)
    return replace(plan, source_classes=(plan.targets[0].label,) if record.backdoor else ())
