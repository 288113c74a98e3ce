"""Victims that are whole networks: from scratch, fine-tuned end to end, or a frozen extractor under any optimiser.

They answer the same questions as `frozen.FrozenVictims`, one victim at a time. One network on the device is given new
weights for each victim, so that what was compiled for it serves all. Poisoned victim and clean control draw
alike: initial weights, orders and views differ in nothing, the training sets in the poisons alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from poisonsets.manifests import canonical
from poisonsets.manifests.bases.dataset import Base, Images
from poisonsets.manifests.compose import Rows, composed_images
from poisonsets.manifests.errors import ViolationError
from poisonsets.victims.checkpoint import KeptRun
from poisonsets.victims.composed import training_rows
from poisonsets.victims.device import exact_arithmetic
from poisonsets.victims.fit import Look, Precision, fit, schedule_of
from poisonsets.victims.frozen import positions
from poisonsets.victims.networks import Classifier, skeleton
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.starting import begin, victim_spec
from poisonsets.victims.stepping import forward_of
from poisonsets.victims.training import images_of
from poisonsets.victims.transfer import victim_generator
from poisonsets.victims.verdict import SMALLER, Question, Verdict, labelled
from poisonsets.victims.views import apply_shifts, apply_views, as_input, view_count
from poisonsets.victims.weights import weights_digest

REMEMBERED: Final = 16
_ASKED: Final = 256  # images a forward pass in eval mode
_Key: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class _Run:
    """A victim to be trained, and how a refusal names it."""

    rows: Rows
    poisons: Images | None
    victim_seed: int
    drawn_by: Rows
    where: str


@dataclass(frozen=True)
class _Control:
    """A trained clean control: its weights on the CPU, and its count of correct test images."""

    values: dict[str, Tensor]
    correct: int


class TrainedVictims:
    """Trains and questions victims that share a protocol and, unless they are from scratch, an extractor.

    Args:
        protocol: every training setting.
        extractor: the network that training starts from; left as it is, and not looked at from scratch.
        base: the victims know its `poison_classes`.
        device: where to compute.
        precision: of the forward passes in training. Questions are asked in float32.
        checkpoints: a folder for runs that were interrupted, and for finished ones, which are then not done again;
            without one nothing is kept.
        every: epochs between two checkpoints.

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
    ) -> None:
        self._protocol, self._base, self._device, self._precision = protocol, base, device, precision
        self._classes, self._folder, self._every = base.poison_classes, checkpoints, every
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
        self._controls: dict[_Key, _Control | ViolationError] = {}
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
        run = _Run(rows, one.poisons, seed, drawn_by, f"{where}: the victim")
        self._train(run)
        poisoned, correct = self._labels(targets, run.where), self._correct(run.where)
        clean, answers = None, None
        if control is not None:
            run = _Run(control, None, seed, control, f"{where}: the clean control")
            clean = self._control(run)
            self._model.load_state_dict(clean.values)
            answers = self._labels(targets, run.where)
        return Verdict(
            poisoned=poisoned,
            control=answers,
            correct=correct,
            control_correct=None if clean is None else clean.correct,
            images=len(self._test_labels),
            training_images=len(rows),
            poisons=int((rows.slot >= 0).sum()),
            control_rows=None if control is None else control.digest(),
        )

    def _control(self, run: _Run) -> _Control:
        """The control of these rows and seed, trained once as long as it is among the last `REMEMBERED`."""
        key = (run.victim_seed, run.rows.digest())
        found = self._controls.pop(key, None)
        if found is None:
            try:
                self._train(run)
                values = {name: tensor.cpu().clone() for name, tensor in self._model.state_dict().items()}
                found = _Control(values, self._correct(run.where))
            except ViolationError as error:
                found = error
        self._controls[key] = found
        while len(self._controls) > REMEMBERED:
            del self._controls[next(iter(self._controls))]
        if isinstance(found, ViolationError):
            raise found
        return found

    def _train(self, run: _Run) -> None:
        """Leave a trained victim in the network."""
        generator = victim_generator(run.victim_seed, run.drawn_by)
        begin(self._network, self._protocol, self._extractor, generator)
        kept = self._kept(run)
        if kept and run.poisons is not None:
            self._answered.append(kept)
        pixels = composed_images(self._base.train.images, run.rows, run.poisons)
        images = torch.from_numpy(pixels).to(self._device)
        labels = torch.from_numpy(positions(run.rows.label, self._classes)).to(self._device)
        try:
            fit(
                self._model,
                self._look(images),
                labels,
                schedule_of(self._protocol),
                generator=generator,
                forward=self._forward,
                precision=self._precision,
                keeper=kept,
            )
        except ViolationError as error:
            raise ViolationError(f"{run.where}: {error.message}", SMALLER) from error
        self._network.eval()

    def _look(self, images: Tensor) -> Look:
        """What a step is given: views of the images, or for a frozen extractor the features of those."""
        protocol = self._protocol

        def seen(here: Tensor, views: Tensor) -> Tensor:
            if protocol.augment == "sub-pixel":
                reach, outside = protocol.pad, self._network.mean
                return apply_shifts(images[here], views, reach, flip=protocol.flip, outside=outside)
            return apply_views(images[here], views, protocol.pad, flip=protocol.flip)

        if protocol.training != "frozen":
            return seen

        @torch.no_grad()
        def features(here: Tensor, views: Tensor) -> Tensor:
            return self._network.features(seen(here, views))

        if view_count(protocol.pad, flip=protocol.flip) > 1:
            return features
        every = torch.arange(len(images), device=self._device)
        parts = [every[start : start + _ASKED] for start in range(0, len(every), _ASKED)]
        once = torch.cat([features(part, torch.zeros_like(part)) for part in parts])
        return lambda here, _views: once[here]

    def _kept(self, run: _Run) -> KeptRun | None:
        if self._folder is None:
            return None
        named = [
            "victim/1",
            self._protocol.id,
            self._protocol.version,
            None if self._extractor is None else weights_digest(self._extractor),
            self._base.train.digest,
            list(self._classes),
            run.victim_seed,
            run.rows.digest(),
            run.drawn_by.digest(),
            None if run.poisons is None else hashlib.sha256(np.ascontiguousarray(run.poisons).data).hexdigest(),
            [self._precision, str(self._device), torch.__version__],
        ]
        key = hashlib.sha256(canonical.dumps(named)).hexdigest()
        return KeptRun(self._folder / f"{key}.safetensors", key, self._every)

    def _correct(self, where: str) -> int:
        return int((self._answers(self._test_images, where) == self._test_labels).sum())

    def _labels(self, images: Images, where: str) -> tuple[int, ...]:
        return tuple(self._classes[i] for i in self._answers(images, where).tolist())

    @torch.no_grad()
    def _answers(self, images: Images, where: str) -> Tensor:
        """Positions int64 [N] of the largest logits, all of them finite: argmax calls a NaN the first class."""
        parts = [images[start : start + _ASKED] for start in range(0, len(images), _ASKED)]
        logits = torch.cat([self._network(as_input(torch.tensor(part, device=self._device))) for part in parts])
        return labelled(logits, self._protocol, where)
