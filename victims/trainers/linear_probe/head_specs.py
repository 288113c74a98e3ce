"""Heads to be trained, named by all that decides their bytes, so that equal ones are trained once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from torch import Tensor

from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.manifests.records.trial import Trial

HeadKey: TypeAlias = tuple[int, str, str, str | None]
"""Victim seed, digests of the rows and of those it draws by, digest of the poisons' pixels."""


@dataclass(frozen=True)
class HeadOrder:
    """A head to be trained.

    Attributes:
        rows: its training set.
        first_slot: the image of the poison cache that is slot 0.
        victim_seed: which of several victims.
        drawn_by: the rows it draws by, those of the clean control.
        pixels: the sha256 of its poisons' pixels; None for a clean control.
        where: how a refusal names it.
    """

    rows: TrainingRows
    first_slot: int
    victim_seed: int
    drawn_by: TrainingRows
    pixels: str | None
    where: str

    @cached_property
    def key(self) -> HeadKey:
        """What it depends on beside the protocol and the extractor."""
        return self.victim_seed, self.rows.digest(), self.drawn_by.digest(), self.pixels


@dataclass(frozen=True)
class Asked:
    """A question, ready to be answered.

    Attributes:
        trial: its record.
        victim, control: the heads that answer it; no control where a base is unknown.
        features: float32 [K + S, D], of the targets and then of the images of source classes.
    """

    trial: Trial
    victim: HeadOrder
    control: HeadOrder | None
    features: Tensor

    @property
    def orders(self) -> tuple[HeadOrder, ...]:
        """The victim, then the control where there is one."""
        return (self.victim,) if self.control is None else (self.victim, self.control)
