"""The checks by code: a decorator for each kind, and what each check promises."""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from poisonsets.manifests.plugins import clash
from poisonsets.manifests.verification.figures import Figures
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedSet, CheckedTrial

TrialCheck = Callable[[CheckedTrial], Iterator[Finding]]
SetCheck = Callable[[CheckedSet], Iterator[Finding]]
FiguresCheck = Callable[[Figures], Iterator[Finding]]
Check = TypeVar("Check", TrialCheck, SetCheck, FiguresCheck)

TRIAL_CHECKS: dict[str, TrialCheck] = {}
SET_CHECKS: dict[str, SetCheck] = {}
FIGURES_CHECKS: dict[str, FiguresCheck] = {}


def check(code: str) -> Callable[[TrialCheck], TrialCheck]:
    """Register a check of one trial; `list checks` shows the first line of its docstring."""
    return lambda run: _register(TRIAL_CHECKS, code, run)


def check_set(code: str) -> Callable[[SetCheck], SetCheck]:
    """Register a check of the whole set, which runs before any trial is read."""
    return lambda run: _register(SET_CHECKS, code, run)


def check_figures(code: str) -> Callable[[FiguresCheck], FiguresCheck]:
    """Register a remark on the figures of all trials, which runs with `verify --compat`."""
    return lambda run: _register(FIGURES_CHECKS, code, run)


def promises() -> dict[str, str]:
    """What each registered check establishes, by code."""
    everything = {**SET_CHECKS, **TRIAL_CHECKS, **FIGURES_CHECKS}
    return {code: (run.__doc__ or "").strip().splitlines()[0] for code, run in sorted(everything.items())}


def modules() -> dict[str, str]:
    """The module that each registered check comes from, by code."""
    everything = {**SET_CHECKS, **TRIAL_CHECKS, **FIGURES_CHECKS}
    return {code: run.__module__ for code, run in sorted(everything.items())}


def _register(registry: dict[str, Check], code: str, run: Check) -> Check:
    if not re.fullmatch(r"[DHV][0-9]{3}", code):
        raise ValueError(f"a check's code is {code!r}, wanted H or V and three digits: V901")
    for known in (TRIAL_CHECKS, SET_CHECKS, FIGURES_CHECKS):
        if code in known:
            raise clash("checks", code, run.__module__, known[code].__module__)
    registry[code] = run
    return run
