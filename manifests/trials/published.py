"""Published trials by name or from a file: one way to open either and to plan a trial of it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.records.origin import NamedSetup
from poisonsets.manifests.trials.named import RULES, compute
from poisonsets.manifests.trials.plan import Plan
from poisonsets.manifests.trials.setup_file import SetupFile, read_setup

PublishedSetup: TypeAlias = NamedSetup | SetupFile


def open_setup(text: str) -> PublishedSetup:
    """The published setup of this name, or in the file at this path. Raises as `read_setup`."""
    return NamedSetup(name=text) if text in RULES else read_setup(Path(text))


def plan_trial(setup: PublishedSetup, base: Base, number: int) -> Plan:
    """Trial `number` (0-based) of a setup. Raises UsageError where it has no such trial, or is for another base."""
    return compute(base, setup, number) if isinstance(setup, NamedSetup) else setup.plan(base, number)
