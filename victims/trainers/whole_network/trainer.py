"""Victims that are whole networks: from scratch, fine-tuned end to end, or a frozen extractor under any optimiser.

They answer the same questions as `frozen.FrozenVictims`, one victim at a time. One network on the device is given new
weights for each victim, so that what was compiled for it serves all. Poisoned victim and clean control draw
alike: initial weights, orders and views differ in nothing, the training sets in the poisons alone. A victim that
equals the last one is not trained again, nor is a control among the last `REMEMBERED`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import TrainingRows, composed_images
from poisonsets.manifests.records.trial import Trial
from poisonsets.victims.device import exact_arithmetic
from poisonsets.victims.networks import Classifier, skeleton
from poisonsets.victims.networks.weights import weights_digest
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves
from poisonsets.victims.trainers.linear_probe.draws import victim_generator
from poisonsets.victims.trainers.predictions import SMALLER, Question, Verdict, labelled
from poisonsets.victims.trainers.recorder import NetworkWatch, sight_of
from poisonsets.victims.trainers.training_rows import training_rows
from poisonsets.victims.trainers.whole_network.compiled import forward_of
from poisonsets.victims.trainers.whole_network.initial_values import begin, victim_spec
from poisonsets.victims.trainers.whole_network.inputs import ASKED, look_of
from poisonsets.victims.training.checkpoint import KeptRun
from poisonsets.victims.training.labels import images_of, positions
from poisonsets.victims.training.loop import Precision, fit, schedule_of
from poisonsets.victims.training.views import as_input

REMEMBERED: Final = 16
_Key: TypeAlias = tuple[int, str, str, str | None, str | None]


@dataclass(frozen=True)
class _Run:
    """A victim to be trained, what it is watched by, and how a refusal names it; a control has no poisons."""

    rows: TrainingRows
    poisons: Images | None
    pixels: str | None
    victim_seed: int
    drawn_by: TrainingRows
    watched_by: _Targets | None
    where: str

    @cached_property
    def key(self) -> _Key:
        """What it depends on beside the protocol and the extractor, and what it is watched by."""
        seen = None if self.watched_by is None else self.watched_by.digest()
        return self.victim_seed, self.rows.digest(), self.drawn_by.digest(), self.pixels, seen


@dataclass(frozen=True)
class _Targets:
    """The targets uint8 [K, H, W, 3] of a trial, as they are asked for."""

    trial: Trial
    images: Images

    def digest(self) -> str:
        labels = [self.trial.adversarial_label, *(target.label for target in self.trial.targets)]
        pixels = np.ascontiguousarray(self.images)
        return hashlib.sha256(canonical_json.dumps([labels, list(pixels.shape)]) + pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class _Trained:
    """A trained model: its values on the CPU, its count of correct test images, its curves where it was watched."""

    values: dict[str, Tensor]
    correct: int
    curves: tuple[Curves, ...]


class TrainedVictims:
    """Trains and questions victims that share a protocol and, unless they are from scratch, an extractor.

    Args:
        protocol: every training setting.
        extractor: the network that training starts from; left as it is, and not looked at from scratch.
        base: the victims know its `victim_classes`.
        device: where to compute.
        precision: of the forward passes in training. Questions are asked in float32.
        checkpoints: a folder for runs that were interrupted, and for finished ones, which are then not done again;
            without one nothing is kept.
        every: epochs between two checkpoints.
        watched: give the curves of victims and controls with their verdicts; a checkpoint keeps what was seen. What
            several trials share is trained for each of them then, by whose targets it is watched.

    Raises:
        UsageError: an extractor is wanted and not given, or its head is to be kept and has other outputs.
    """

    block: ClassVar[int] = 1
    """Questions that are answered together: a kill loses no finished victim."""

    def __init__(
        self,
        protocol: Protocol,
        extractor: Classifier | None,
        base: Base,
        device: torch.device,
        *,
        precision: Precision = "fp32",
        checkpoints: Path | None = None,
        every: int = 10,
        watched: bool = False,
    ) -> None:
        self._protocol, self._base, self._device, self._precision = protocol, base, device, precision
        self._classes, self._folder, self._every, self._watched = base.victim_classes, checkpoints, every, watched
        self._extractor = None if protocol.training == "scratch" else extractor
        self._network = skeleton(victim_spec(protocol, extractor, base)).to_empty(device=device)
        if device.type == "cuda":
            self._network.to(memory_format=torch.channels_last)
        frozen = protocol.training == "frozen"
        self._network.body.requires_grad_(not frozen)
        self._model: nn.Module = self._network.head if frozen else self._network
        self._forward = self._model if frozen else forward_of(self._network, protocol, base, precision)
        self._test_images, labels = images_of(base.test, self._classes)
        self._test_labels = torch.from_numpy(labels).to(device)
        self._victims: dict[_Key, _Trained | ViolationError] = {}
        self._controls: dict[_Key, _Trained | ViolationError] = {}
        self._answered: list[KeptRun] = []

    def verdicts(self, questions: Sequence[Question]) -> list[Verdict | ViolationError]:
        """Train each question's victim and its clean control, and ask both for the targets.

        Args:
            questions: one a job. The answers do not depend on which stand together. Those of the last call must be
                stored by now: the checkpoints of their victims are removed, those of controls stay.

        Returns:
            For each a verdict, or why there is none: its victim or control diverged.

        Raises:
            UsageError: a composition rule cannot be met.
            DamagedError, MissingError: of a checkpoint.
        """
        while self._answered:
            self._answered.pop().forget()
        found: list[Verdict | ViolationError] = []
        for one in questions:
            try:
                found.append(self._verdict(one))
            except ViolationError as error:
                found.append(error)
        return found

    @exact_arithmetic()
    def _verdict(self, one: Question) -> Verdict:
        labels, seed = self._base.train.labels, one.victim_seed
        rows, control = training_rows(self._protocol, one.trial, labels, self._classes, seed)
        where = f"trial {one.trial.trial}, protocol {self._protocol.id}, victim seed {seed}"
        targets = self._protocol.asked(one.targets)
        drawn_by = rows if control is None else control
        watched_by = _Targets(one.trial, targets[: len(one.trial.targets)]) if self._watched else None
        run = _Run(rows, one.poisons, one.pixels, seed, drawn_by, watched_by, f"{where}: the victim")
        victim = self._answering(run, self._victims, most=1)
        poisoned = self._labels(targets, run.where)
        clean, answers = None, None
        if control is not None:
            run = _Run(control, None, None, seed, control, watched_by, f"{where}: the clean control")
            clean = self._answering(run, self._controls, most=REMEMBERED)
            answers = self._labels(targets, run.where)
        return Verdict(
            poisoned=poisoned,
            control=answers,
            correct=victim.correct,
            control_correct=None if clean is None else clean.correct,
            images=len(self._test_labels),
            training_images=len(rows),
            poisons=int((rows.slot >= 0).sum()),
            control_rows=None if control is None else control.digest(),
            curves=victim.curves + (() if clean is None else clean.curves),
        )

    def _answering(self, run: _Run, remembered: dict[_Key, _Trained | ViolationError], *, most: int) -> _Trained:
        """Put a victim into the network, trained now or remembered; the last ones are."""
        found = remembered.pop(run.key, None)
        if found is None:
            try:
                curves = self._train(run)
                values = {name: tensor.cpu().clone() for name, tensor in self._model.state_dict().items()}
                found = _Trained(values, self._correct(run.where), curves)
            except ViolationError as error:
                found = error
        remembered[run.key] = found
        while len(remembered) > most:
            del remembered[next(iter(remembered))]
        if isinstance(found, ViolationError):
            raise found
        self._model.load_state_dict(found.values)
        return found

    def _train(self, run: _Run) -> tuple[Curves, ...]:
        """Leave a trained victim in the network; its curves where it is watched."""
        generator = victim_generator(run.victim_seed, run.drawn_by)
        begin(self._network, self._protocol, self._extractor, generator)
        watch = None if run.watched_by is None else self._watch(run.watched_by)
        kept = self._kept(run, watch)
        if kept and run.poisons is not None:
            self._answered.append(kept)
        pixels = composed_images(self._base.train.images, run.rows, run.poisons)
        images = torch.from_numpy(pixels).to(self._device)
        labels = torch.from_numpy(positions(run.rows.label, self._classes)).to(self._device)
        try:
            fit(
                self._model,
                look_of(self._network, self._protocol, images),
                labels,
                schedule_of(self._protocol),
                generator=generator,
                forward=self._forward,
                precision=self._precision,
                keeper=kept,
                watch=watch,
            )
        except ViolationError as error:
            raise ViolationError(f"{run.where}: {error.message}", SMALLER) from error
        self._network.eval()
        return () if watch is None else (watch.curves(),)

    def _watch(self, targets: _Targets) -> NetworkWatch:
        """What watches the model that is trained; the network has its initial values."""
        inputs = as_input(torch.tensor(targets.images, device=self._device))
        if self._model is self._network.head:
            with torch.no_grad():
                inputs = self._network.features(inputs)
        return NetworkWatch(self._model, sight_of(targets.trial, inputs, self._classes))

    def _kept(self, run: _Run, watch: NetworkWatch | None) -> KeptRun | None:
        if self._folder is None:
            return None
        named = [
            "victim/1",
            self._protocol.id,
            self._protocol.version,
            None if self._extractor is None else weights_digest(self._extractor),
            self._base.train.digest,
            list(self._classes),
            *run.key[:4],
            [self._precision, str(self._device), torch.__version__],
            *run.key[4:],
        ]
        key = hashlib.sha256(canonical_json.dumps(named)).hexdigest()
        return KeptRun(self._folder / f"{key}.safetensors", key, self._every, watch)

    def _correct(self, where: str) -> int:
        return int((self._answers(self._test_images, where) == self._test_labels).sum())

    def _labels(self, images: Images, where: str) -> tuple[int, ...]:
        return tuple(self._classes[i] for i in self._answers(images, where).tolist())

    @torch.no_grad()
    def _answers(self, images: Images, where: str) -> Tensor:
        """Positions int64 [N] of the largest logits, all of them finite: argmax calls a NaN the first class."""
        parts = [images[start : start + ASKED] for start in range(0, len(images), ASKED)]
        logits = torch.cat([self._network(as_input(torch.tensor(part, device=self._device))) for part in parts])
        return labelled(logits, self._protocol, where)
