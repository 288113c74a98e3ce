"""The two victims of a job, for every trainer: one on the poisons and its clean control, with the same draws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.stream import Stream
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.predictions import Evaluation, Predictions
from poisonsets.victims.trainers.training_rows import training_rows


class VictimKey(NamedTuple):
    """What a victim depends on beside protocol and extractor: its seed, and digests of the rest of its spec."""

    victim_seed: int
    rows: str
    drawn_by: str
    poisons: str | None


@dataclass(frozen=True)
class JobInput:
    """What a job gives a trainer.

    Attributes:
        trial: its record.
        poisons: uint8 [P, H, W, 3], in slot order.
        images: uint8 [K + S, H, W, 3], to be classified: the targets, then the test images of the source classes, with
            any trigger on.
        victim_seed: which of several victims.
    """

    trial: Trial
    poisons: Images
    images: Images
    victim_seed: int


@dataclass(frozen=True)
class VictimSpec:
    """A victim to be trained.

    Attributes:
        rows: its training set.
        drawn_by: the rows it draws by: those of the clean control, its own where there is none.
        victim_seed: which of several victims.
        poisons: uint8 [P, H, W, 3], in slot order; None for a clean control.
        where: how a refusal names it.
    """

    rows: TrainingRows
    drawn_by: TrainingRows
    victim_seed: int
    poisons: Images | None
    where: str

    @cached_property
    def poison_digest(self) -> str | None:
        """The sha256 of the poisons' pixels; None for a clean control."""
        return None if self.poisons is None else hashlib.sha256(np.ascontiguousarray(self.poisons).data).hexdigest()

    @cached_property
    def key(self) -> VictimKey:
        """Equal victims of a protocol and an extractor have equal keys."""
        return VictimKey(self.victim_seed, self.rows.digest(), self.drawn_by.digest(), self.poison_digest)

    def generator(self) -> torch.Generator:
        """The source of every random choice of the victim, on the CPU."""
        return victim_generator(self.victim_seed, self.drawn_by)


@dataclass(frozen=True)
class VictimPair:
    """The victims of a job.

    Attributes:
        trial: its record.
        images: uint8 [K + S, H, W, 3], the job's, as the protocol shows them to victims.
        victim: trained on the poisons.
        control: the clean control; None where a base is unknown.
    """

    trial: Trial
    images: Images
    victim: VictimSpec
    control: VictimSpec | None

    @classmethod
    def of(cls, job: JobInput, protocol: Protocol, base: Base) -> VictimPair:
        """The victims of a job under a protocol; a UsageError where the composition rule cannot be met."""
        rows, control = training_rows(protocol, job.trial, base, job.victim_seed)
        where = f"trial {job.trial.trial}, protocol {protocol.id}, victim seed {job.victim_seed}"
        drawn_by = rows if control is None else control
        victim = VictimSpec(rows, drawn_by, job.victim_seed, job.poisons, f"{where}: the victim")
        clean = VictimSpec(drawn_by, drawn_by, job.victim_seed, None, f"{where}: the clean control")
        return cls(job.trial, protocol.test_view(job.images), victim, None if control is None else clean)

    @property
    def specs(self) -> tuple[VictimSpec, ...]:
        """The victim, then the control where there is one."""
        return (self.victim,) if self.control is None else (self.victim, self.control)

    @property
    def targets(self) -> Images:
        """The images of the K targets alone."""
        return self.images[: len(self.trial.targets)]

    def predictions(
        self, evaluate: Callable[[VictimSpec], Evaluation], test_images: int
    ) -> Predictions | ViolationError:
        """What both victims predict, or the error of the one that diverged, so that other jobs go on.

        Args:
            evaluate: gives the evaluation of a trained victim, or raises a ViolationError.
            test_images: how many test images the base has of the victims' classes.
        """
        try:
            victim, *control = [evaluate(spec) for spec in self.specs]
        except ViolationError as error:
            return error
        return Predictions(
            victim=victim,
            control=control[0] if control else None,
            test_images=test_images,
            training_images=len(self.victim.rows),
            poisons=int((self.victim.rows.slot >= 0).sum()),
            control_rows=None if self.control is None else self.control.rows.digest(),
        )


def victim_generator(victim_seed: int, rows: TrainingRows) -> torch.Generator:
    """The generator, on the CPU, of a victim of this 0-based seed that draws by these rows."""
    return torch.Generator().manual_seed(Stream("victim", victim_seed, rows.digest()).seed())
