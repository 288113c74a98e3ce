"""Curves of victims, recorded in training without changing it: no draw, no running statistic, no value.

Source: Geiping et al. (2021), "Witches' Brew", Figs. 2 and 9: the targets' losses, and the cosine of the gradient of
their adversarial loss with that of a batch's training loss at the same parameters, over all trainable parameters as one
vector, averaged over an epoch's batches.

The batch's gradient is the one its step uses: of the mean cross-entropy without weight decay, in the mode (training
mode from scratch, eval mode on an extractor) and precision of training, on augmented views. The targets' gradient is
taken in eval mode, in float32, on their images as they are classified, not augmented; from scratch its running
statistics include the batch of the step. What differs from the paper: victims are those of the protocol (there, from
scratch); where only a head trains, trainable parameters are the head's; several targets count by their mean loss; and
the gradient under the targets' true label, the right half of Fig. 2, is not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.manifests.records.trial import Trial
from poisonsets.victims.trainers.curves import SERIES, Curves, curves_of


@dataclass(frozen=True)
class TargetInputs:
    """The K targets of a trial as a victim is shown them.

    Attributes:
        inputs: float32 on the device, what the trained model takes: images [K, 3, H, W] in 0..1, or features [K, D].
        adversarial: int64 [K] on the device, the position of the adversarial label among the victim's classes.
        labels: int64 [K] on the device, the positions of the true labels; -1 for one that is no such class.
    """

    inputs: Tensor
    adversarial: Tensor
    labels: Tensor


def target_inputs(trial: Trial, inputs: Tensor, classes: Sequence[int]) -> TargetInputs:
    """`inputs` of a trial's K targets with their labels; `classes` are in the order of the victim's outputs."""
    place = {label: i for i, label in enumerate(classes)}
    wanted = torch.full((len(inputs),), place[trial.adversarial_label])
    labels = torch.tensor([place.get(target.label, -1) for target in trial.targets])
    return TargetInputs(inputs, wanted.to(inputs.device), labels.to(inputs.device))


def series(logits: Tensor, targets: TargetInputs) -> Tensor:
    """Losses and confidences [..., 4, K] in the order of `SERIES`, from logits [..., K, C] of the targets."""
    logs = torch.log_softmax(logits, -1)
    adversarial = logs.gather(-1, targets.adversarial[..., None])[..., 0]
    true = logs.gather(-1, targets.labels.clamp(min=0)[..., None])[..., 0]
    true = true.masked_fill(targets.labels < 0, float("nan"))
    return torch.stack([-adversarial, adversarial.exp(), -true, true.exp()], -2)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """The cosine of each pair of vectors float64 [..., P]: float64 [...], 0 where one vanishes."""
    lengths = torch.linalg.vector_norm(one, dim=-1) * torch.linalg.vector_norm(other, dim=-1)
    return torch.where(lengths > 0, (one * other).sum(-1) / lengths, 0.0).clamp(-1, 1)


class NetworkRecorder:
    """Records one model in `fit`, which takes the targets' inputs; its state is kept with a checkpoint."""

    def __init__(self, model: nn.Module, targets: TargetInputs) -> None:
        self._model, self._targets = model, targets
        self._values = [value for value in model.parameters() if value.requires_grad]
        self._rows: list[Tensor] = []
        self._cosines: list[Tensor] = []

    def step(self) -> None:
        """Called while a batch's gradients stand beside the values they were taken at."""
        training = self._model.training
        self._model.eval()
        loss = F.cross_entropy(self._model(self._targets.inputs), self._targets.adversarial)
        wanted = torch.autograd.grad(loss, self._values, allow_unused=True, materialize_grads=True)
        self._model.train(training)
        batch = [torch.zeros_like(value) if value.grad is None else value.grad for value in self._values]
        self._cosines.append(cosine(_vector(wanted), _vector(batch)))

    @torch.no_grad()
    def epoch(self) -> None:
        """Called after the last step of an epoch."""
        training = self._model.training
        self._model.eval()
        found = series(self._model(self._targets.inputs), self._targets).flatten()
        self._model.train(training)
        mean = torch.stack(self._cosines).mean()
        self._cosines.clear()
        self._rows.append(torch.cat([found, mean[None].float()]).cpu())

    def state(self) -> Tensor:
        """The record so far, float32 [epochs, 4 K + 1] on the CPU, the columns of `curves_of`."""
        return torch.stack(self._rows)

    def restore(self, seen: Tensor) -> None:
        """Go on from a `state`; a ValueError if it is of other targets."""
        columns = len(SERIES) * len(self._targets.labels) + 1
        if seen.dtype != torch.float32 or seen.shape != (len(seen), columns):
            raise ValueError(f"curves are {seen.dtype} {list(seen.shape)}")
        self._rows = list(seen)

    def curves(self) -> Curves:
        """The curves so far, of at least one epoch."""
        return curves_of(self.state().numpy())


class HeadRecorder:
    """Records heads that train together; a head that several trials share is recorded once for each.

    It computes in float64 and rounds to float32 at the end: in float32 the last bits would depend on which heads are
    recorded together.

    Args:
        recorded: the number of a plan, and the targets for which its head is recorded.
    """

    def __init__(self, recorded: Sequence[tuple[int, TargetInputs]]) -> None:
        self._recorded = recorded
        self._seen: list[list[Tensor]] = [[] for _ in recorded]

    def block(self, plans: Sequence[int]) -> BlockRecorder | None:
        """The recorder of the heads of these plans, in this order; None where none is recorded."""
        places = {plan: place for place, plan in enumerate(plans)}
        mine = [i for i, (plan, _) in enumerate(self._recorded) if plan in places]
        if not mine:
            return None
        targets = [self._recorded[i][1] for i in mine]
        return BlockRecorder(targets, [places[self._recorded[i][0]] for i in mine], [self._seen[i] for i in mine])

    def curves(self) -> list[Curves]:
        """The curves of each of `recorded`, in their order, after training."""
        return [curves_of(torch.stack(rows).numpy()) for rows in self._seen]


class BlockRecorder:
    """The recorder of one block, made by `HeadRecorder.block`.

    Args:
        targets: of M trials, with features [K, D]; K may differ.
        places: the number in the block of each one's head.
        seen: receives each one's row of an epoch, float32 [4 K + 1].
    """

    def __init__(self, targets: Sequence[TargetInputs], places: Sequence[int], seen: Sequence[list[Tensor]]) -> None:
        device = targets[0].inputs.device
        self._counts, self._seen = [len(one.labels) for one in targets], seen
        self._places = torch.tensor(places, device=device)
        self._targets = TargetInputs(
            _padded([one.inputs for one in targets]).double(),
            _padded([one.adversarial for one in targets]),
            _padded([one.labels for one in targets]),
        )
        # Padding has no share in the mean, and so no gradient.
        self._share = _padded([torch.full((n, 1), 1 / n, device=device, dtype=torch.float64) for n in self._counts])
        self._cosines: list[Tensor] = []

    def step(self, weight: Tensor, bias: Tensor, weight_gradient: Tensor, bias_gradient: Tensor) -> None:
        """Called when a batch's gradients are known, with the values they were taken at.

        Args:
            weight, weight_gradient: float32 [T, C, D], of all heads of the block.
            bias, bias_gradient: float32 [T, C].
        """
        slope = torch.softmax(self._logits(weight, bias), 2)
        slope.scatter_add_(2, self._targets.adversarial[..., None], -torch.ones_like(slope[..., :1]))
        slope *= self._share
        wanted = torch.cat([torch.bmm(slope.mT, self._targets.inputs).flatten(1), slope.sum(1)], 1)
        batch = torch.cat([weight_gradient.flatten(1), bias_gradient], 1)[self._places].double()
        self._cosines.append(cosine(wanted, batch))

    def epoch(self, weight: Tensor, bias: Tensor) -> None:
        """Called after the last step of an epoch, with values as for `step`."""
        found = series(self._logits(weight, bias), self._targets).float().cpu()
        means = torch.stack(self._cosines).mean(0).float().cpu()
        self._cosines.clear()
        for rows, values, mean, count in zip(self._seen, found, means, self._counts, strict=True):
            rows.append(torch.cat([values[:, :count].flatten(), mean[None]]))

    def _logits(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Float64 [M, K, C]."""
        values, offsets = weight[self._places].double(), bias[self._places].double()
        return torch.baddbmm(offsets[:, None], self._targets.inputs, values.mT)


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """Tensors [K, ...], each with its own K, as one [M, largest K, ...], padded with zeros."""
    return nn.utils.rnn.pad_sequence(list(parts), batch_first=True)


def _vector(gradients: Sequence[Tensor]) -> Tensor:
    """All gradients as one float64 vector, in the order of the parameters."""
    return torch.cat([gradient.reshape(-1) for gradient in gradients]).double()
