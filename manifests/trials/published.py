"""Published trials, computed by a name or read from a file: one way to open either and to plan a trial of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.origin import NamedSetup
from poisonsets.manifests.spelling import unknown
from poisonsets.manifests.trials import witches_brew
from poisonsets.manifests.trials.plan import Plan
from poisonsets.manifests.trials.setup_file import SetupFile, read_setup

PublishedSetup: TypeAlias = NamedSetup | SetupFile

RULES: Final[dict[str, tuple[int, Callable[[Base, int], Plan]]]] = {
    "witches-brew-cifar10": (len(witches_brew.CASES), witches_brew.case)
}
"""By name: how many trials there are, and the rule that computes trial n of a base from printed seeds."""


def open_setup(text: str) -> PublishedSetup:
    """The published setup of this name, or in the file at this path.

    Raises as `read_setup`, and UsageError for a word that is neither a name nor like a file's path.
    """
    if text in RULES:
        return NamedSetup(name=text)
    path = Path(text)
    if path.name == text and not path.suffix and not path.exists():
        raise unknown("setup", text, [*RULES, "FILE.json", "FILE.pickle"])
    return read_setup(path)


def trials_of(name: str) -> int:
    """How many trials a named setup has. Raises UsageError where there is none of that name."""
    if name not in RULES:
        raise UsageError(f"there is no setup called {name[:80]!r}", f"Known are {', '.join(RULES)}, or a file")
    return RULES[name][0]


def plan_trial(setup: PublishedSetup, base: Base, number: int) -> Plan:
    """Trial `number` (0-based) of a setup; of a named backdoor the target's class is the trial's source class.

    Raises UsageError where there is no such setup or trial, or the base is not the one it was published for.
    """
    if isinstance(setup, SetupFile):
        return setup.plan(base, number)
    count = trials_of(setup.name)
    if not 0 <= number < count:
        raise UsageError(f"trial {number} is outside 0-{count - 1} of {setup.name}")
    plan = RULES[setup.name][1](base, number)
    return replace(plan, source_classes=(plan.targets[0].label,) if setup.backdoor else ())
