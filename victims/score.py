"""Score a poison set: every trial's victim is trained beside its clean control, one row a job.

A job is (content digest, trial, classes, protocol, extractor digest, victim seed). Jobs are independent and named by
what they are, so that finished ones are skipped on `resume`. Everything that can be refused is refused
before any training.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poisonsets.manifests.bases.dataset import Base, Images
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.model import Manifest
from poisonsets.victims.features import FeatureCache
from poisonsets.victims.frozen import FrozenVictims, Verdict
from poisonsets.victims.preflight import matched, preflight
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.results import ResultsFolder, open_results
from poisonsets.victims.rows import Row, TargetRow, job_key
from poisonsets.victims.scorable import ScorableSet, ScorableTrial
from poisonsets.victims.summary import Summary, summarise
from poisonsets.victims.threat import ThreatLevel, threat_level
from poisonsets.victims.training import Progress
from poisonsets.victims.weights import Weights


@dataclass(frozen=True)
class Score:
    """The rows of the jobs that were asked for, and a summary a pair of protocol and extractor."""

    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]


def score_set(
    opened: ScorableSet,
    base: Base,
    *,
    protocols: Sequence[Protocol],
    extractors: Sequence[Weights],
    trials: Sequence[int] | None = None,
    victim_seeds: Sequence[int] = (0,),
    results: Path | None = None,
    resume: bool = False,
    device: torch.device,
    progress: Progress | None = None,
) -> Score:
    """Train the victims of a poison set and count their targets.

    Args:
        opened: the set.
        base: the base dataset the set pins.
        protocols: how victims are trained; each is run with every extractor of its network and width.
        extractors: frozen feature extractors; those of one digest count once.
        trials: numbers of the trials to score; all where left out.
        victim_seeds: one victim a trial for each; more narrow the interval of a rate only as far as victims
            of one trial differ. A seed given twice counts once.
        results: a folder that keeps rows, locked meanwhile; without one they are only returned.
        resume: go on with the rows a folder holds.
        device: where to compute.
        progress: told the jobs done and all jobs.

    Raises:
        MissingError: the base is another one, or the results folder cannot be used.
        UsageError: extractors and protocols do not match, a trial cannot be scored this way.
        ViolationError: a victim diverged; it has no row.
        DamagedError: the set's files are damaged, or a stored row is.
    """
    chosen = preflight(opened, base, protocols, trials)
    pairs = matched(protocols, extractors, base)
    seeds = tuple(dict.fromkeys(victim_seeds))
    total = len(pairs) * len(chosen) * len(seeds)
    rows: list[Row] = []
    with _folder(results, _settings(opened.manifest, pairs, base, device), resume=resume) as folder:
        for protocol, extractor in pairs:
            jobs = [_Job(t, protocol, extractor, seed, opened.manifest) for t in chosen for seed in seeds]
            for row in _rows(jobs, base, device, folder):
                rows.append(row)
                if progress:
                    progress(len(rows), total)
    return Score(tuple(rows), summarise(rows))


@dataclass(frozen=True)
class _Job:
    trial: ScorableTrial
    protocol: Protocol
    extractor: Weights
    victim_seed: int
    manifest: Manifest

    def identity(self) -> dict[str, Any]:
        return {
            "content_digest": self.manifest.content_digest,
            "trial": self.trial.record.trial,
            "poison_classes": self.manifest.base.poison_classes,
            "protocol": self.protocol.id,
            "protocol_version": self.protocol.version,
            "extractor": self.extractor.digest,
            "victim_seed": self.victim_seed,
        }

    def shape(self) -> dict[str, Any]:
        spec = self.extractor.network.spec
        return {"network": spec.name, "width": spec.width}

    def threat_level(self) -> ThreatLevel:
        return threat_level(self.extractor, self.manifest.surrogates, self.trial.record.trial)


def _folder(
    results: Path | None, settings: dict[str, Any], *, resume: bool
) -> AbstractContextManager[ResultsFolder | None]:
    return nullcontext() if results is None else open_results(results, settings, resume=resume)


def _rows(jobs: Sequence[_Job], base: Base, device: torch.device, folder: ResultsFolder | None) -> Iterator[Row]:
    """Rows of jobs that share protocol and extractor; nothing is built where all rows are stored."""
    victims: FrozenVictims | None = None
    loaded: tuple[int, FeatureCache, Images] | None = None
    for job in jobs:
        row = _stored(job, folder) if folder else None
        if row is None:
            started = time.perf_counter()
            _forget_peak(device)
            victims = victims or FrozenVictims(job.protocol, job.extractor.network, base, device)
            number = job.trial.record.trial
            if loaded is None or loaded[0] != number:
                poisons, targets = _pixels(job.trial, base)
                loaded = (number, victims.poison_features(poisons), targets)
            verdict = victims.verdict(job.trial.record, loaded[1], loaded[2], job.victim_seed)
            row = _row(job, verdict, seconds=time.perf_counter() - started, device=device)
            if folder:
                folder.write(row)
        yield row


def _stored(job: _Job, folder: ResultsFolder) -> Row | None:
    row = folder.row(job_key(**job.identity()), **job.identity(), **job.shape())
    if row is None:
        return None
    record = job.trial.record
    wanted = [(target.label, record.adversarial_label) for target in record.targets]
    if [(target.label, target.adversarial_label) for target in row.targets] != wanted:
        raise DamagedError(
            f"{folder.path}: row {row.job[:12]} has other targets than trial {record.trial}",
            "Remove it and score again with --resume",
        )
    # The set at hand may name other surrogates than that of an equal content digest the row was made with.
    return row.model_copy(update={"threat_level": job.threat_level()})


def _row(job: _Job, verdict: Verdict, *, seconds: float, device: torch.device) -> Row:
    record, control = job.trial.record, verdict.control
    adversarial = record.adversarial_label
    targets = tuple(
        TargetRow(
            label=target.label,
            adversarial_label=adversarial,
            predicted_poisoned=verdict.poisoned[i],
            predicted_control=None if control is None else control[i],
        )
        for i, target in enumerate(record.targets)
    )
    return Row(
        job=job_key(**job.identity()),
        **job.identity(),
        **job.shape(),
        targets=targets,
        success=all(label == adversarial for label in verdict.poisoned),
        control=None if control is None else all(label == adversarial for label in control),
        control_rows=verdict.control_rows,
        training_images=verdict.training_images,
        poisons=verdict.poisons,
        clean_correct=verdict.correct,
        clean_images=verdict.images,
        control_correct=verdict.control_correct,
        threat_level=job.threat_level(),
        seconds=f"{seconds:.3f}",
        device=str(device),
        peak_memory_bytes=_peak(device),
    )


def _pixels(trial: ScorableTrial, base: Base) -> tuple[Images, Images]:
    """A trial's poisons and targets, whose sizes and labels are those its record and the base give."""
    images, labels = trial.poisons()
    targets = trial.target_images(base)
    record, side = trial.record, (*base.train.side, 3)
    for what, found, count in (
        ("poisons", images, len(record.slots.labels)),
        ("targets", targets, len(record.targets)),
    ):
        if found.dtype != np.uint8 or found.shape != (count, *side):
            raise DamagedError(
                f"trial {record.trial}: {what} are {found.dtype} {list(found.shape)}, wanted uint8 {[count, *side]}"
            )
    if not np.array_equal(labels, np.array(record.slots.labels)):
        raise DamagedError(f"trial {record.trial}: labels of its poisons are not those its record lists")
    return images, targets


def _settings(
    manifest: Manifest, pairs: Sequence[tuple[Protocol, Weights]], base: Base, device: torch.device
) -> dict[str, Any]:
    return {
        "format": "poisonset-results/2",
        "content_digest": manifest.content_digest,
        "base": {name: pin.digest for name, pin in manifest.base.splits.items()},
        "protocols": sorted({f"{protocol.id} v{protocol.version}" for protocol, _ in pairs}),
        "extractors": sorted({extractor.digest for _, extractor in pairs}),
        "poison_classes": list(base.poison_classes),
        "device": str(device),
        "torch": torch.__version__,
    }


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # The kernel counts in kibibytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
