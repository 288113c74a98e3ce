"""The checks: one small function each, registered with its code, yielding findings. One file a family.

A check sees one trial at a time as a `Case`. Adding a check is adding a decorated function to a file of this folder
and importing that file below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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

    def violation(self, code: str, message: str, *, slot: int | None = None, remedy: str = "") -> Finding:
        """A violation at this trial, or at one of its slots."""
        place = f"trial {self.trial.number}" + ("" if slot is None else f" slot {slot}")
        return Finding(code, "violation", place, message, remedy)


Check = Callable[[Case], Iterator[Finding]]


@dataclass(frozen=True)
class Entry:
    """A registered check: its code, what it establishes in a line, and the function."""

    code: str
    promise: str
    run: Check


CHECKS: dict[str, Entry] = {}


def check(code: str) -> Callable[[Check], Check]:
    """Register a trial check under a code; its docstring's first line is what `list checks` shows."""

    def register(run: Check) -> Check:
        promise = (run.__doc__ or "").strip().splitlines()[0]
        if code in CHECKS:
            raise ValueError(f"two checks are called {code}")
        CHECKS[code] = Entry(code, promise, run)
        return run

    return register


from poisonsets.manifests.checks import composition, constraint, labels, origin, slots  # noqa: E402, F401
