"""One job: its name, its row on disk, its pixels. Jobs are independent of each other."""

import resource
import sys
import typing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.origin import ForeignSetup
from poisonsets.manifests.records.trial import Linf
from poisonsets.victims.device import gpu_model
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.precision import Precision
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.results.folder import ResultsFolder
from poisonsets.victims.results.job import JobIdentity, base_digest, task_digest
from poisonsets.victims.results.row import Row, TargetRow
from poisonsets.victims.results.threat import ThreatLevel, threat_level
from poisonsets.victims.scoring.subject import ScorableManifest, ScorableTrial
from poisonsets.victims.trainers.predictions import Predictions


class RowJob(typing.Protocol):
    """What a row is made of: a job of a protocol, or of a victim of the caller's own."""

    @property
    def trial(self) -> ScorableTrial:
        """The trial."""

    @property
    def identity(self) -> JobIdentity:
        """What names it."""

    def shape(self) -> dict[str, Any]:
        """The row's fields that say which network was trained."""

    def recomputed(self) -> dict[str, Any]:
        """The row's fields that may change while the job's name does not."""


@dataclass(frozen=True)
class Job:
    """A victim to be trained and tested; its identity names its row.

    Attributes:
        seen: whether the extractor's pre-training held the base's images.
    """

    trial: ScorableTrial
    protocol: Protocol
    extractor: Weights | None
    victim_seed: int
    manifest: ScorableManifest
    seen: bool = False

    @cached_property
    def identity(self) -> JobIdentity:
        """What names it."""
        return identity_of(
            self.manifest,
            self.trial,
            self.victim_seed,
            protocol=self.protocol.id,
            version=self.protocol.version,
            extractor=None if self.extractor is None else self.extractor.digest,
        )

    def shape(self) -> dict[str, Any]:
        """The row's fields that follow from the protocol."""
        return {"network": self.protocol.network, "width": self.protocol.width, "input": self.protocol.input}

    def recomputed(self) -> dict[str, Any]:
        """The row's fields that may change while the job's name does not."""
        said = {"threat_level": self.threat_level(), "seen_in_pretraining": self.seen}
        return said | set_fields(self.manifest, self.trial)

    def threat_level(self) -> ThreatLevel:
        """Of the extractor against the set's surrogates; unknown of an imported set, whose format names none."""
        shape, declared = (self.protocol.network, self.protocol.width), self.manifest.surrogates
        if not declared and isinstance(getattr(self.manifest, "setup", None), ForeignSetup):
            declared = None
        return threat_level(self.extractor, shape, declared, self.trial.record.trial)


def identity_of(
    manifest: ScorableManifest,
    trial: ScorableTrial,
    victim_seed: int,
    *,
    protocol: str,
    version: int,
    extractor: str | None,
) -> JobIdentity:
    """The identity of a job on a trial of a set, under a protocol of this id and version."""
    return JobIdentity(
        content_digest=manifest.content_digest,
        trial=trial.record.trial,
        victim_classes=manifest.base.victim_classes,
        protocol=protocol,
        protocol_version=version,
        extractor=extractor,
        victim_seed=victim_seed,
    )


def set_fields(manifest: ScorableManifest, trial: ScorableTrial) -> dict[str, Any]:
    """The row's fields that say which set it is of, so that rows of several sets need no manifest beside them."""
    attack, constraint = getattr(manifest, "attack", None), trial.record.constraint
    return {
        "set_name": getattr(manifest, "name", None),
        "attack": None if attack is None else attack.name,
        "epsilon": constraint.levels if isinstance(constraint, Linf) else None,
        "base_digest": base_digest({name: pin.digest for name, pin in manifest.base.splits.items()}),
        "task": task_digest(trial.record),
    }


def stored_row(job: RowJob, folder: ResultsFolder) -> Row | None:
    """The row a folder holds of a job, None where it has none.

    Raises:
        DamagedError: as `ResultsFolder.row`, or it has other targets than the trial.
    """
    row = folder.row(job.identity.key, **job.shape())
    if row is None:
        return None
    record = job.trial.record
    wanted = [(target.label, record.adversarial_label) for target in record.targets]
    if [(target.label, target.adversarial_label) for target in row.targets] != wanted:
        raise DamagedError(
            f"{folder.path}: row {row.job[:12]} has other targets than trial {record.trial}",
            "Remove it and score again with --resume",
        )
    # A set of equal content digest may name other surrogates than the one the row was made with.
    return row.model_copy(update=job.recomputed())


def finished_row(
    job: RowJob, predictions: Predictions, *, seconds: float, device: torch.device, precision: Precision
) -> Row:
    """The row of a job.

    Args:
        job: the job done.
        predictions: of its victim and control.
        seconds: wall time, the job's share of its block's.
        device: where it was computed.
        precision: of the networks' passes.
    """
    record, count = job.trial.record, len(job.trial.record.targets)
    adversarial, victim, control = record.adversarial_label, predictions.victim, predictions.control
    sources = victim.labels[count:]
    targets = tuple(
        TargetRow(
            label=target.label,
            adversarial_label=adversarial,
            predicted_poisoned=victim.labels[i],
            predicted_control=None if control is None else control.labels[i],
        )
        for i, target in enumerate(record.targets)
    )
    return Row(
        **job.identity.fields(),
        **job.shape(),
        targets=targets,
        success=all(label == adversarial for label in victim.labels[:count]),
        control=None if control is None else all(label == adversarial for label in control.labels[:count]),
        source_images=len(sources),
        source_poisoned=sources.count(adversarial),
        source_control=None if control is None else control.labels[count:].count(adversarial),
        control_rows=predictions.control_rows,
        training_images=predictions.training_images,
        poisons=predictions.poisons,
        clean_correct=victim.correct,
        clean_images=predictions.test_images,
        control_correct=None if control is None else control.correct,
        **job.recomputed(),
        seconds=f"{seconds:.3f}",
        device=device.type,
        gpu=gpu_model(device),
        precision=precision,
        peak_memory_bytes=_peak(device),
    )


def trial_images(trial: ScorableTrial, base: Base) -> tuple[Images, Images]:
    """A trial's poisons uint8 [P, H, W, 3], and the images its victims classify, uint8 [K + S, H, W, 3].

    Those are its targets, then the test images of its source classes, all with any trigger on.

    Raises:
        DamagedError: sizes or labels are not those its record and the base give.
    """
    images, labels = trial.poisons()
    targets, sources = trial.target_images(base), trial.source_images(base)
    record, side = trial.record, (*base.train.side, 3)
    for what, found, count in (
        ("poisons", images, len(record.slots.labels)),
        ("targets", targets, len(record.targets)),
        ("images of source classes", sources, int(np.isin(base.test.labels, record.source_classes).sum())),
    ):
        if found.dtype != np.uint8 or found.shape != (count, *side):
            raise DamagedError(
                f"trial {record.trial}: {what} are {found.dtype} {list(found.shape)}, wanted uint8 {[count, *side]}"
            )
    if not np.array_equal(labels, np.array(record.slots.labels)):
        raise DamagedError(f"trial {record.trial}: labels of its poisons are not those its record lists")
    return images, np.concatenate([targets, sources])


def forget_peak(device: torch.device) -> None:
    """Restart the measurement of peak memory, where the device can."""
    if device.type == "cuda":
        torch.empty(0, device=device)  # starts CUDA, which has no statistics to reset before
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # The kernel counts in kibibytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
