"""Victims that are whole networks: from scratch, fine-tuned end to end, or a frozen extractor under any optimiser.

They are trained one at a time in one network on the device, so that all use what was compiled for it. A victim equal to
the last one, or a control among the last `REMEMBERED`, is not trained again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import ViolationError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.compose import composed_images
from poisonsets.manifests.workers import Progress, part_of, silent
from poisonsets.victims.device import gpu_model, sent
from poisonsets.victims.networks import Classifier, skeleton
from poisonsets.victims.networks.weights import weights_digest
from poisonsets.victims.precision import Precision, exact_arithmetic
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.trainers.curves import Curves
from poisonsets.victims.trainers.predictions import SMALLER, Evaluation, Predictions, labelled
from poisonsets.victims.trainers.recorder import NetworkRecorder, target_inputs
from poisonsets.victims.trainers.victim_pair import JobInput, VictimKey, VictimPair, VictimSpec
from poisonsets.victims.trainers.whole_network.forward_pass import forward_of
from poisonsets.victims.trainers.whole_network.initial_values import initialise, network_spec
from poisonsets.victims.trainers.whole_network.inputs import EVAL_BATCH, input_transform
from poisonsets.victims.training.checkpoint import Checkpoint
from poisonsets.victims.training.labels import images_of, positions
from poisonsets.victims.training.loop import fit, schedule_of
from poisonsets.victims.training.views import as_input

REMEMBERED: Final = 16
_Key: TypeAlias = tuple[VictimKey, str | None]
"""The victim's, and the digest of the targets whose curves are recorded."""


@dataclass(frozen=True)
class _State:
    """A trained model: values on the CPU, correct test images, and curves where they were recorded."""

    values: dict[str, Tensor]
    correct: int
    curves: Curves | None


class WholeNetworkTrainer:
    """Trains and evaluates victims that share a protocol and, unless they are from scratch, an extractor.

    Args:
        protocol: every training setting.
        extractor: the network that training starts from; not changed, and ignored from scratch.
        base: the victims know its `victim_classes`.
        device: where to compute.
        precision: of the passes in training, a frozen extractor's included. Victims are evaluated in float32.
        checkpoints: a folder for interrupted runs, and for finished ones, which are then not done again; none without
            it.
        every: epochs between two checkpoints.
        curves: record those of victims and controls, in checkpoints too. What several trials share is then trained once
            for each of them.

    Raises:
        UsageError: an extractor is wanted and not given.
    """

    block: ClassVar[int] = 1
    """Jobs that are done together: a kill loses no finished victim."""

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
        curves: bool = False,
    ) -> None:
        self._protocol, self._base, self._device, self._precision = protocol, base, device, precision
        self._classes, self._folder, self._every, self._curves = base.victim_classes, checkpoints, every, curves
        self._extractor = None if protocol.training == "scratch" else extractor
        self._network = skeleton(network_spec(protocol, extractor, base)).to_empty(device=device).placed(device)
        frozen = protocol.training == "frozen"
        self._network.body.requires_grad_(not frozen)
        self._model: nn.Module = self._network.head if frozen else self._network
        self._forward = self._model if frozen else forward_of(self._network, protocol, base, precision)
        self._test_images, labels = images_of(base.test, self._classes)
        self._test_labels = torch.from_numpy(labels).to(device)
        self._victims: dict[_Key, _State | ViolationError] = {}
        self._controls: dict[_Key, _State | ViolationError] = {}
        self._finished: list[Checkpoint] = []

    @exact_arithmetic()
    def predictions(self, jobs: Sequence[JobInput], progress: Progress = silent) -> list[Predictions | ViolationError]:
        """Train each job's victim and its clean control, and evaluate both.

        Args:
            jobs: predictions do not depend on which stand together. Those of the last call must be stored by now: the
                checkpoints of their victims are removed, those of controls stay.
            progress: told the jobs done, with the share of the current one, and all jobs.

        Returns:
            For each job its predictions, or the error of a victim or control that diverged.

        Raises:
            UsageError: a composition rule cannot be met.
            DamagedError, MissingError: of a checkpoint.
        """
        while self._finished:
            self._finished.pop().remove()
        found = []
        for number, job in enumerate(jobs):
            pair = VictimPair.of(job, self._protocol, self._base)
            evaluate = partial(self._evaluation, pair, part_of(progress, number, len(jobs)))
            found.append(pair.predictions(evaluate, len(self._test_labels)))
        return found

    def _evaluation(self, pair: VictimPair, progress: Progress, spec: VictimSpec) -> Evaluation:
        state = self._restored(pair, spec, part_of(progress, int(spec is pair.control), len(pair.specs)))
        labels = tuple(self._classes[i] for i in self._positions(pair.images, spec.where).tolist())
        return Evaluation(labels, state.correct, state.curves, state.values)

    def _restored(self, pair: VictimPair, spec: VictimSpec, progress: Progress) -> _State:
        """Put a victim into the network, trained now or remembered."""
        remembered, most = (self._controls, REMEMBERED) if spec.poisons is None else (self._victims, 1)
        key = spec.key, _digest(pair) if self._curves else None
        found = remembered.pop(key, None)
        if found is None:
            try:
                curves = self._train(pair, spec, key, progress)
                values = {name: tensor.cpu().clone() for name, tensor in self._model.state_dict().items()}
                correct = int((self._positions(self._test_images, spec.where) == self._test_labels).sum())
                found = _State(values, correct, curves)
            except ViolationError as error:
                found = error
        remembered[key] = found
        while len(remembered) > most:
            del remembered[next(iter(remembered))]
        if isinstance(found, ViolationError):
            raise found
        self._model.load_state_dict(found.values)
        return found

    def _train(self, pair: VictimPair, spec: VictimSpec, key: _Key, progress: Progress) -> Curves | None:
        """Leave a trained victim in the network; returns its curves where they are recorded."""
        generator = spec.generator()
        initialise(self._network, self._protocol, self._extractor, generator)
        recorder = self._recorder(pair) if self._curves else None
        checkpoint = self._checkpoint(key)
        if checkpoint and spec.poisons is not None:
            self._finished.append(checkpoint)
        pixels = composed_images(self._base.train.images, spec.rows, spec.poisons)
        images = torch.from_numpy(pixels).to(self._device)
        labels = torch.from_numpy(positions(spec.rows.label, self._classes)).to(self._device)
        try:
            with exact_arithmetic(self._precision):
                fit(
                    self._model,
                    input_transform(self._network, self._protocol, images, self._precision),
                    labels,
                    schedule_of(self._protocol),
                    generator=generator,
                    forward=self._forward,
                    precision=self._precision,
                    checkpoint=checkpoint,
                    recorder=recorder,
                    progress=progress,
                )
        except ViolationError as error:
            raise ViolationError(f"{spec.where}: {error.message}", SMALLER) from error
        self._network.eval()
        return None if recorder is None else recorder.curves()

    def _recorder(self, pair: VictimPair) -> NetworkRecorder:
        """Of the model in training, once the network has its initial values."""
        inputs = as_input(torch.tensor(pair.targets, device=self._device))
        if self._model is self._network.head:
            with torch.no_grad():
                inputs = self._network.features(inputs)
        return NetworkRecorder(self._model, target_inputs(pair.trial, inputs, self._classes))

    def _checkpoint(self, key: _Key) -> Checkpoint | None:
        if self._folder is None:
            return None
        named = [
            "victim/3",
            self._protocol.id,
            self._protocol.version,
            None if self._extractor is None else weights_digest(self._extractor),
            self._base.train.digest,
            list(self._classes),
            [self._precision, gpu_model(self._device) or self._device.type, torch.__version__],
            list(key[0]),
            key[1],
        ]
        name = hashlib.sha256(canonical_json.dumps(named)).hexdigest()
        return Checkpoint(self._folder / f"{name}.safetensors", name, self._every)

    @torch.no_grad()
    def _positions(self, images: Images, where: str) -> Tensor:
        """Positions int64 [N] of the largest logits, all of them finite."""
        parts = [images[start : start + EVAL_BATCH] for start in range(0, len(images), EVAL_BATCH)]
        logits = torch.cat([self._network(as_input(sent(torch.tensor(part), self._device))) for part in parts])
        return labelled(logits, self._protocol, where)


def _digest(pair: VictimPair) -> str:
    """The sha256 of a job's targets as a recorder sees them."""
    labels = [pair.trial.adversarial_label, *(target.label for target in pair.trial.targets)]
    pixels = np.ascontiguousarray(pair.targets)
    return hashlib.sha256(canonical_json.dumps([labels, list(pixels.shape)]) + pixels.tobytes()).hexdigest()
