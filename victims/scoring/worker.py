"""Blocks of jobs to rows, in whichever process trains the victims."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import torch

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.workers import Progress, part_of, silent
from poisonsets.victims.device import device_refusal, is_out_of_memory
from poisonsets.victims.features.store import FeatureDtype, FeatureStore
from poisonsets.victims.precision import Precision
from poisonsets.victims.results.folder import CHECKPOINTS, ResultsFolder
from poisonsets.victims.results.row import Row
from poisonsets.victims.scoring.beside import Beside
from poisonsets.victims.scoring.jobs import Job, finished_row, forget_peak, trial_images
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.trainers.victim_pair import JobInput
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer

_LESS_MEMORY: Final = "Use fewer --workers, fewer --trials at a time or smaller networks, go on with --resume"
Trainer: TypeAlias = LinearProbeTrainer | WholeNetworkTrainer


@dataclass(frozen=True)
class WorkerSettings:
    """How missing rows are made, in whichever process.

    Attributes:
        base, device, cache, features, precision: as for `score_set`.
        results: the results folder, locked by this process or its parent, for rows and whole networks in training;
            without one nothing is stored.
        beside: what is stored beside each row.
    """

    base: Base
    device: torch.device
    cache: Path | None
    features: FeatureDtype
    precision: Precision
    results: Path | None
    beside: Beside = field(default_factory=Beside)


@dataclass(frozen=True)
class JobBlock:
    """Jobs of one protocol and extractor that are done together.

    Attributes:
        jobs: at least one.
        beside: trial and victim seed of every missing job of that protocol and extractor, here or elsewhere.
    """

    jobs: tuple[Job, ...]
    beside: tuple[tuple[Trial, int], ...]

    def halves(self) -> tuple[JobBlock, ...]:
        """The block's jobs in two halves; a lone job as it is."""
        middle = len(self.jobs) // 2
        parts = (self.jobs[:middle], self.jobs[middle:]) if middle else (self.jobs,)
        return tuple(JobBlock(part, self.beside) for part in parts)


def blocks(jobs: Sequence[Job]) -> Iterator[JobBlock]:
    """The jobs in blocks, grouped by protocol and extractor.

    Those of whole networks are sorted by seed: few victims are remembered, and equal ones are of one seed.
    """
    groups: dict[tuple[str, str | None], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.identity.protocol, job.identity.extractor), []).append(job)
    for group in groups.values():
        batched = group[0].protocol.batched
        size = LinearProbeTrainer.block if batched else WholeNetworkTrainer.block
        if not batched:
            group.sort(key=lambda job: job.victim_seed)
        beside = tuple((job.trial.record, job.victim_seed) for job in group)
        for start in range(0, len(group), size):
            yield JobBlock(tuple(group[start : start + size]), beside)


class RowMaker:
    """Trains victims; what those of one protocol and extractor share is kept until another pair comes.

    Args:
        settings: how rows are made.
        sharing: as the `progress` of `LinearProbeTrainer.share`.
    """

    def __init__(self, settings: WorkerSettings, sharing: Progress = silent) -> None:
        self._settings, self._sharing = settings, sharing
        self._pair: tuple[str, str | None] | None = None
        self._trainer: Trainer | None = None
        self._halvings = 0

    def run(self, block: JobBlock, progress: Progress = silent) -> list[Row | ViolationError]:
        """The row of each job, or the error of a victim or control that diverged.

        Where memory runs out over heads on remembered features, what is computed at a time is halved, for this block
        and those to come.

        The process that makes a row stores it, after what stands beside it: left to another process it could be lost,
        and victims forget their checkpoints when the next block comes.

        Raises:
            UsageError, DamagedError, MissingError: as the trainer's `predictions` and `jobs.trial_images`.
            MissingError: memory ran out and there is nothing left to halve, or the device failed; the rows of earlier
                blocks are stored.
        """
        try:
            return self._made(block, progress)
        except Exception as error:
            halves = block.jobs[0].protocol.batched and self._halvings < limits.HALVINGS
            if not (halves and is_out_of_memory(error)):
                if refusal := device_refusal(error, str(self._settings.device), _LESS_MEMORY):
                    raise refusal from error
                raise
        # Out here, where the error no longer holds the tensors of the block.
        self._trainer = None
        self._halvings += 1
        if self._settings.device.type == "cuda":
            torch.cuda.empty_cache()
        parts = block.halves()
        made = [self.run(part, part_of(progress, number, len(parts))) for number, part in enumerate(parts)]
        return [row for rows in made for row in rows]

    def _made(self, block: JobBlock, progress: Progress) -> list[Row | ViolationError]:
        started, settings = time.perf_counter(), self._settings
        forget_peak(settings.device)
        trainer = self._trainer_of(block)
        loaded = {job.trial.record.trial: trial_images(job.trial, settings.base) for job in block.jobs}
        inputs = [JobInput(job.trial.record, *loaded[job.trial.record.trial], job.victim_seed) for job in block.jobs]
        predictions = trainer.predictions(inputs, progress)
        seconds = (time.perf_counter() - started) / len(block.jobs)
        made: list[Row | ViolationError] = []
        for job, found in zip(block.jobs, predictions, strict=True):
            if isinstance(found, ViolationError):
                made.append(found)
                continue
            row = finished_row(job, found, seconds=seconds, device=settings.device, precision=settings.precision)
            if settings.results is not None:
                settings.beside.write(settings.results, job, found, settings.base)
                ResultsFolder(settings.results).write(row)
            made.append(row)
        return made

    def _trainer_of(self, block: JobBlock) -> Trainer:
        first = block.jobs[0].identity
        pair = (first.protocol, first.extractor)
        if self._trainer is None or self._pair != pair:
            self._trainer, self._pair = None, pair  # the old one's memory is free before the new one takes its own
            self._trainer = _trainer(block, self._settings, self._sharing, self._halvings)
        return self._trainer


def _trainer(block: JobBlock, settings: WorkerSettings, sharing: Progress, halvings: int) -> Trainer:
    """Of heads on remembered features where only those are trained, else of whole networks."""
    protocol, extractor, base = block.jobs[0].protocol, block.jobs[0].extractor, settings.base
    if extractor is None or not protocol.batched:
        network = None if extractor is None else extractor.network
        return WholeNetworkTrainer(
            protocol,
            network,
            base,
            settings.device,
            precision=settings.precision,
            checkpoints=None if settings.results is None else settings.results / CHECKPOINTS,
            curves=settings.beside.trajectories,
        )
    trainer = LinearProbeTrainer(
        protocol,
        extractor.network,
        base,
        settings.device,
        features=settings.features,
        precision=settings.precision,
        curves=settings.beside.trajectories,
        halvings=halvings,
    )
    if settings.cache is not None:
        trainer.share(FeatureStore(settings.cache, extractor.digest, base.train.digest), block.beside, sharing)
    return trainer
