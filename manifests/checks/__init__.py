"""The checks: one small function each, registered with its code, yielding findings. One file a family.

Most checks see one trial at a time as a `Case`; those of `whole.py` see the set and its base. Adding a check is adding
a decorated function to a file of this folder; a new file is imported below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base, Images, Labels
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import Trial
from poisonsets.manifests.reader import OpenTrial, PoisonSet


@dataclass(frozen=True)
class Case:
    """A trial as the checks see it.

    Attributes:
        owner: the open set.
        trial: the open trial.
        base: the base dataset, its digests already compared with the manifest's.
        keys: (trial, slot) of every sample in the shards, in their order.
        images: uint8 [N, H, W, 3] of every sample.
        labels: int64 [N] of every sample.
        row_of: for each declared slot that is there exactly once, its row in the three above.
    """

    owner: PoisonSet
    trial: OpenTrial
    base: Base
    keys: tuple[tuple[int, int], ...]
    images: Images
    labels: Labels
    row_of: dict[int, int]

    @property
    def record(self) -> Trial:
        """The trial's record in the manifest."""
        return self.trial.record

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """bool [slots]: which poisons differ from their base; an unknown base counts as different."""
        found = np.zeros(len(self.record.slots.bases), dtype=np.bool_)
        clean = self.base.train.images
        for slot, row in self.row_of.items():
            base = self.record.slots.bases[slot]
            found[slot] = base is None or (base < len(clean) and not np.array_equal(self.images[row], clean[base]))
        return found

    def violation(self, code: str, message: str, *, slot: int | None = None, remedy: str = "") -> Finding:
        """A violation at this trial, or at one of its slots."""
        place = f"trial {self.trial.number}" + ("" if slot is None else f" slot {slot}")
        return Finding(code, "violation", place, message, remedy)


TrialCheck = Callable[[Case], Iterator[Finding]]
SetCheck = Callable[[PoisonSet, Base], Iterator[Finding]]
Check = TypeVar("Check", TrialCheck, SetCheck)

TRIAL_CHECKS: dict[str, TrialCheck] = {}
SET_CHECKS: dict[str, SetCheck] = {}


def check(code: str) -> Callable[[TrialCheck], TrialCheck]:
    """Register a check of one trial; its docstring's first line is what `list checks` shows."""
    return lambda run: _put(TRIAL_CHECKS, code, run)


def check_set(code: str) -> Callable[[SetCheck], SetCheck]:
    """Register a check of the set as a whole, likewise."""
    return lambda run: _put(SET_CHECKS, code, run)


def promises() -> dict[str, str]:
    """What each registered check establishes, by code."""
    everything = {**SET_CHECKS, **TRIAL_CHECKS}
    return {code: (run.__doc__ or "").strip().splitlines()[0] for code, run in sorted(everything.items())}


def _put(registry: dict[str, Check], code: str, run: Check) -> Check:
    if code in TRIAL_CHECKS or code in SET_CHECKS:
        raise ValueError(f"two checks are called {code}")
    registry[code] = run
    return run


from poisonsets.manifests.checks import composition, constraint, labels, origin, pictures, slots, targets, whole  # noqa: E402, F401
