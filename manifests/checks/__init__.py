"""The checks: one small function each, registered with its code, yielding findings. One file a family.

Most checks see one trial at a time as a `Case`; others see the set as a `Whole`, before its trials or, for what only
all trials together tell, after them. Adding a check is adding a decorated function to a file of this folder; a new
file is imported below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from poisonsets.manifests.checks.case import Case, Whole
from poisonsets.manifests.figures import Figures
from poisonsets.manifests.findings import Finding

__all__ = ["Case", "Whole", "check", "check_figures", "check_set", "promises"]

TrialCheck = Callable[[Case], Iterator[Finding]]
SetCheck = Callable[[Whole], Iterator[Finding]]
FiguresCheck = Callable[[Figures], Iterator[Finding]]
Check = TypeVar("Check", TrialCheck, SetCheck, FiguresCheck)

TRIAL_CHECKS: dict[str, TrialCheck] = {}
SET_CHECKS: dict[str, SetCheck] = {}
FIGURES_CHECKS: dict[str, FiguresCheck] = {}


def check(code: str) -> Callable[[TrialCheck], TrialCheck]:
    """Register a check of one trial; its docstring's first line is what `list checks` shows."""
    return lambda run: _put(TRIAL_CHECKS, code, run)


def check_set(code: str) -> Callable[[SetCheck], SetCheck]:
    """Register a check of the set as a whole, likewise; it runs before any trial is read."""
    return lambda run: _put(SET_CHECKS, code, run)


def check_figures(code: str) -> Callable[[FiguresCheck], FiguresCheck]:
    """Register a remark on the figures over all trials, which `verify --compat` asks for, likewise."""
    return lambda run: _put(FIGURES_CHECKS, code, run)


def promises() -> dict[str, str]:
    """What each registered check establishes, by code."""
    everything = {**SET_CHECKS, **TRIAL_CHECKS, **FIGURES_CHECKS}
    return {code: (run.__doc__ or "").strip().splitlines()[0] for code, run in sorted(everything.items())}


def _put(registry: dict[str, Check], code: str, run: Check) -> Check:
    if any(code in known for known in (TRIAL_CHECKS, SET_CHECKS, FIGURES_CHECKS)):
        raise ValueError(f"two checks are called {code}")
    registry[code] = run
    return run


from poisonsets.manifests.checks import (  # noqa: E402
    compat,  # noqa: F401
    composition,  # noqa: F401
    constraint,  # noqa: F401
    labels,  # noqa: F401
    leaks,  # noqa: F401
    origin,  # noqa: F401
    pictures,  # noqa: F401
    slots,  # noqa: F401
    stamped,  # noqa: F401
    surrogates,  # noqa: F401
    targets,  # noqa: F401
    whole,  # noqa: F401
)
