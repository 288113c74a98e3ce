"""The result of one job: a row whose fields agree."""

from __future__ import annotations

from pydantic import model_validator

from poisonsets.manifests.records.fields import Decimal, Index, Label, Name, Sha256, Strict, Text
from poisonsets.manifests.records.origin import Precision
from poisonsets.victims.results.job import JobRecord
from poisonsets.victims.results.threat import ThreatLevel


class TargetRow(Strict):
    """One target's result: labels, and the predictions of both victims (no control, no prediction)."""

    label: Label
    adversarial_label: Label
    predicted_poisoned: Label
    predicted_control: Label | None


class Row(JobRecord):
    """The result of one job; a row that contradicts itself cannot be made.

    Attributes:
        input: the side, in pixels, that the network's first layer brings images to; None where they stay as they are.
        success: every target is classified as the adversarial label after training on the poisons.
        control: the same of the clean control; None where there is none.
        source_images: classified test images of the trial's source classes, with any trigger on; 0 without source
            classes.
        source_poisoned, source_control: those of them classified as the adversarial label after training on the
            poisons, and by the clean control.
        control_rows: digest of the control's training rows; jobs of one victim seed with equal ones share one control.
            None where there is none.
        training_images: rows of the victim's training set.
        poisons: those of them that are poisons.
        clean_correct, control_correct: test images of the victim's classes classified correctly, of `clean_images`.
        threat_level: of the extractor against the set's surrogates. The job does not name these, so scoring recomputes
            it for a stored row. Unknown without a manifest.
        seen_in_pretraining: whether the extractor's pre-training held the base's images. Such a row stands beside no
            published one. Recomputed like the threat level.
        set_name, attack, epsilon: of the set, as its manifest has them; epsilon in levels of 255, None without an
            l-infinity bound. Recomputed too; None where there is no manifest.
        base_digest, task: digests of the base's splits, and of what the trial asks of a victim (targets, source
            classes, adversarial label): rows equal in both are results on one trial. None in rows of older versions.
        victim: what a victim of the caller's own is called; None for a protocol's.
        victim_package: the installed package that it comes from, with its version, where it comes from one.
        seconds: wall time, the job's share of its block's.
        device: its kind, `cpu` or `cuda`.
        gpu: the GPU's model; None on a CPU.
        precision: of the passes that give features or train the whole network.
        peak_memory_bytes: on a GPU the most allocated during the job, else the most the process ever held.

    Raises:
        ValueError: pydantic's ValidationError where a field is out of range or contradicts another.
    """

    network: Name
    width: Decimal
    input: Index | None = None
    targets: tuple[TargetRow, ...]
    success: bool
    control: bool | None
    source_images: Index
    source_poisoned: Index
    source_control: Index | None
    control_rows: Sha256 | None
    training_images: Index
    poisons: Index
    clean_correct: Index
    clean_images: Index
    control_correct: Index | None
    threat_level: ThreatLevel
    seen_in_pretraining: bool = False
    set_name: Text | None = None
    attack: Text | None = None
    epsilon: Index | None = None
    base_digest: Sha256 | None = None
    task: Sha256 | None = None
    victim: Text | None = None
    victim_package: Text | None = None
    seconds: Decimal
    device: Text
    gpu: Text | None = None
    precision: Precision = "fp32"
    peak_memory_bytes: Index

    @model_validator(mode="after")
    def _agrees(self) -> Row:
        hits = [target.predicted_poisoned == target.adversarial_label for target in self.targets]
        if not hits or self.success != all(hits):
            raise ValueError(f"success is {self.success}, its targets say otherwise")
        self._control_agrees()
        if max(self.clean_correct, self.control_correct or 0) > self.clean_images:
            raise ValueError(f"more correct test images than the {self.clean_images} there are")
        if max(self.source_poisoned, self.source_control or 0) > self.source_images:
            raise ValueError(f"more hits than the {self.source_images} images of source classes")
        if self.poisons > self.training_images:
            raise ValueError(f"{self.poisons} poisons in a training set of {self.training_images} images")
        return self

    def _control_agrees(self) -> None:
        predicted = [target.predicted_control for target in self.targets]
        values = self.control, self.source_control, self.control_rows, self.control_correct, *predicted
        if len({value is None for value in values}) > 1:
            raise ValueError("some of its fields have a clean control, some have none")
        meant = all(target.predicted_control == target.adversarial_label for target in self.targets)
        if self.control is not None and self.control != meant:
            raise ValueError(f"control is {self.control}, its targets say otherwise")
