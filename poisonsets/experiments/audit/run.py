"""Run an audit: craft each set, close it, verify it, open it again, train victims on what the disk holds.

    WORK/sets/NAME          poison sets
    WORK/rows/NAME-VICTIMS  results folders, one a cell

Whatever is complete is kept and checked; whatever is not goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch

from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.crafting.request import CraftRequest
from poisonsets.experiments.audit.plan import AIMED, AuditPlan, Cell, PlannedSet
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.spelling import command
from poisonsets.manifests.verification.verify import verify
from poisonsets.manifests.workers import Progress, run_all, silent
from poisonsets.surrogates import Surrogates
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.placement import worker_device
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.summary import Summary
from poisonsets.victims.scoring.extractors import matched
from poisonsets.victims.scoring.score import score_set

Stage: TypeAlias = Callable[[str], AbstractContextManager[Progress]]
"""Makes the progress of a piece of work with this name."""
_Scored: TypeAlias = tuple[Summary, tuple[Row, ...], int]


@dataclass(frozen=True)
class Measured:
    """What came of a cell.

    Attributes:
        summary: the rates.
        rows: one a trial, in order.
        photographs: different targets of the trials; two trials may have drawn the same.
    """

    cell: Cell
    summary: Summary
    rows: tuple[Row, ...]
    photographs: int


def set_folder(work: Path, planned: PlannedSet) -> Path:
    """Where an audit keeps a poison set."""
    return work / "sets" / planned.name


def run_audit(
    plan: AuditPlan,
    work: Path,
    *,
    cache: Path,
    devices: Sequence[torch.device],
    workers: int,
    resume: bool,
    stage: Stage,
) -> tuple[Measured, ...]:
    """Craft and verify every set of a plan, then score every cell.

    Args:
        plan: what to run.
        work: the folder of sets and rows.
        cache: the cache folder, for features.
        devices: where attacks and victims compute, of one kind and model.
        workers: processes; neither sets nor rows depend on it.
        resume: go on with what the folder holds.
        stage: tells a piece of work by its name, with progress.

    Returns:
        Each cell's result, in the plan's order.

    Raises:
        ViolationError: a trial was refused, a set does not verify, or a victim diverged.
        MissingError, DamagedError, UsageError: as `craft_set`, `verify` and `score_set`.
    """
    for victims in {cell.victims.kind: cell.victims for cell in plan.cells}.values():
        matched([victims.protocol], [victims.extractor], plan.base)  # before minutes of crafting
    requests = {planned: _request(plan, planned) for planned in plan.sets}
    for planned, request in requests.items():
        path = set_folder(work, planned)
        # Only the attack that descends is worth the start of processes.
        processes = workers if planned.attack == AIMED else 1
        with stage(f"crafting {planned.name}") as progress:
            done = craft_set(path, request, workers=processes, device=devices, resume=resume, progress=progress)
        if done.refused:
            number, reason = done.refused[0]
            raise ViolationError(f"{path}: trial {number} was refused: {reason}", "Leave out the class it is about")
        with stage(f"verifying {planned.name}") as progress:
            _refuse_false(path, plan.base, progress)
    setting = _Setting(plan.base, devices, cache, resume)
    scored = _scored_heads(plan, work, setting, workers, stage) | _scored_networks(plan, work, setting, workers, stage)
    return tuple(Measured(cell, *scored[cell.name]) for cell in plan.cells)


def _request(plan: AuditPlan, planned: PlannedSet) -> CraftRequest:
    aimed = planned.attack == AIMED
    settings = {"steps": str(plan.steps), "augment": str(plan.augment).lower()} if aimed else {}
    return craft_request(
        planned.attack,
        plan.base,
        name=planned.name,
        settings=settings,
        trials=range(plan.trials),
        epsilon=planned.epsilon,
        surrogates=Surrogates((plan.surrogate,)) if aimed else Surrogates(),
        seed=plan.seed,
        asked=Draw(poisons=planned.poisons),
    )


def _refuse_false(path: Path, base: Base, progress: Progress) -> None:
    """Refuse a set that does not verify: what is scored must be what its manifest says."""
    report = verify(path, lambda _pin: base, progress)
    if not report.clean:
        raise ViolationError(f"{path}: the set does not verify", f"Type {command('verify', path)}")


@dataclass(frozen=True)
class _Job:
    """A cell as paths and settings, for whichever process trains its victims."""

    poisoned: Path
    results: Path
    protocol: Protocol
    extractor: Weights


def _job(cell: Cell, work: Path) -> _Job:
    victims = cell.victims
    return _Job(set_folder(work, cell.poisoned), work / "rows" / cell.name, victims.protocol, victims.extractor)


@dataclass(frozen=True)
class _Setting:
    """What all cells are scored with."""

    base: Base
    devices: Sequence[torch.device]
    cache: Path
    resume: bool


def _scored_heads(plan: AuditPlan, work: Path, setting: _Setting, workers: int, stage: Stage) -> dict[str, _Scored]:
    """Cells of heads on features by name, beside each other: a cell is the work of one process."""
    cells = [cell for cell in plan.cells if cell.victims.protocol.training == "frozen"]
    cells.sort(key=lambda cell: cell.victims.protocol.augment == "none")  # the longest first
    jobs = [_job(cell, work) for cell in cells]
    with stage("scoring") as progress:
        found = run_all(jobs, partial(_Scorer, setting), workers=workers, progress=progress)
        return dict(zip((cell.name for cell in cells), found, strict=True))


def _scored_networks(plan: AuditPlan, work: Path, setting: _Setting, workers: int, stage: Stage) -> dict[str, _Scored]:
    """Cells of whole networks by name, one after the other: their victims are shared out."""
    found = {}
    for cell in plan.cells:
        if cell.victims.protocol.training != "frozen":
            with stage(f"scoring {cell.name}") as progress:
                found[cell.name] = _score(_job(cell, work), setting, setting.devices, workers, progress)
    return found


class _Scorer:
    """Scores cells in one process, on the device that its number gives it."""

    def __init__(self, setting: _Setting, worker: int) -> None:
        self._setting, self._device = setting, worker_device(setting.devices, worker)

    def run(self, job: _Job, progress: Progress = silent) -> _Scored:
        """Score one cell."""
        return _score(job, self._setting, [self._device], 1, progress)


def _score(job: _Job, setting: _Setting, devices: Sequence[torch.device], workers: int, progress: Progress) -> _Scored:
    """Train the victims of a cell on the set that lies on disk; summary, rows, and different targets."""
    opened = open_set(job.poisoned)
    score = score_set(
        opened,
        setting.base,
        protocols=[job.protocol],
        extractors=[job.extractor],
        results=job.results,
        resume=setting.resume,
        cache=setting.cache,
        device=devices,
        workers=workers,
        progress=progress,
    )
    photographs = {target.image_id for trial in opened.manifest.trials for target in trial.targets}
    return score.summaries[0], score.rows, len(photographs)
