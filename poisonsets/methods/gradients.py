"""Weight gradients of a network, and the exact gradient of their mismatch with respect to the images.

For a mismatch B(g) of the weight gradient g = grad_theta L(theta, x), the gradient with respect to the images is that
of <v, g> with v = dB/dg held constant. Second gradients of convolutions go to the images alone (`convolutions.py`);
the values equal autograd's up to the order of float additions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from poisonsets.interface import Context
from poisonsets.methods.convolutions import images_alone
from poisonsets.methods.descent import Objective
from poisonsets.settings import PUBLISHED_BATCH
from poisonsets.surrogates import Surrogate

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Maps logits, float32 [N, C], and positions, int64 [N], to the mean loss, 0-dimensional."""
Mismatch: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps a weight gradient, float32 [D], all trainable tensors as one vector, to a 0-dimensional loss and its derivative.

The derivative, [D], is a formula: a vector may be as large as the network, and autograd would hold several at a time.
"""

PIECE = 1 << 16


def published_step(step_size: float, context: Context, *, batch: int = PUBLISHED_BATCH) -> float:
    """The first step size of Geiping et al. (2021) for this batch size and the networks' summed gradients."""
    return step_size * batch / PUBLISHED_BATCH / len(context.surrogates)


def margin(logits: Tensor, positions: Tensor) -> Tensor:
    """The mean of Carlini and Wagner's (2017) margin: the largest other logit minus the wanted one.

    logits are float32 [N, C], at least two classes; positions, int64 [N], are the wanted ones. What differs from the
    code of Geiping et al. (2021): there the largest logit is over all classes and the margin stops at -100, so an image
    of the wanted class has no gradient, and a set of such images a cosine of 0/0. Otherwise both are the same.
    """
    wanted = logits.gather(1, positions[:, None])[:, 0]
    others = logits.scatter(1, positions[:, None], -torch.inf).amax(1)
    return (others - wanted).mean()


def cosine(wanted: Tensor) -> Mismatch:
    """1 - <wanted, found> / (||wanted|| ||found||) of two vectors [D], 1 if one is zero."""
    long = length_of(wanted)

    def of_angle(found: Tensor) -> tuple[Tensor, Tensor]:
        short = length_of(found)
        alike = _dot(wanted, found) / (long * short)
        return 1 - alike, (found * (alike / short**2)).addcmul_(wanted, 1 / (long * short), value=-1)

    return of_angle


def euclidean(wanted: Tensor) -> Mismatch:
    """||found - wanted||^2 / (2 ||wanted||) of two vectors [D], "SE" in the code of Geiping et al. (2021)."""
    long = length_of(wanted)

    def of_difference(found: Tensor) -> tuple[Tensor, Tensor]:
        apart = found - wanted
        return 0.5 * _dot(apart, apart) / long, apart.div_(long)

    return of_difference


DISTANCES: dict[str, Callable[[Tensor], Mismatch]] = {"cosine": cosine, "euclidean": euclidean}
CRITERIA: dict[str, Criterion] = {"cross-entropy": F.cross_entropy, "carlini-wagner": margin}


def clip_and_noise(mismatch: Mismatch, generator: torch.Generator, *, clip: float, noise: float) -> Mismatch:
    """The mismatch of a gradient clipped to length `clip`, with fresh noise N(0, (clip * noise)^2) on every value."""

    def of_noisy(found: Tensor) -> tuple[Tensor, Tensor]:
        drawn = torch.randn(found.shape, generator=generator).to(found.device)
        length = length_of(found)
        share = (clip / length).clamp_max(1)
        loss, slope = mismatch(drawn.mul_(clip * noise).add_(found * share))
        # Clipping fixes the length, so nothing moves along the gradient itself.
        along = torch.where(share < 1, _dot(found, slope) / length**2, 0)
        return loss, slope.sub_(found * along).mul_(share)

    return of_noisy


def length_of(gradient: Tensor) -> Tensor:
    """||gradient|| of a vector [D], at least 1e-12 so that it can be a divisor."""
    return _dot(gradient, gradient).sqrt().clamp_min(1e-12)


def weight_gradient(
    surrogate: Surrogate, images: Tensor, positions: Tensor, *, criterion: Criterion = F.cross_entropy, batch: int = 256
) -> Tensor:
    """The gradient of the images' mean loss with respect to all trainable tensors, one vector [D] without a graph.

    Args:
        surrogate: a network.
        images: float32 [N, 3, H, W] in 0..1, N at least 1.
        positions: int64 [N], among the network's outputs.
        criterion: the mean loss of a batch.
        batch: images per pass; it changes the result only by rounding.
    """
    weights = _leaves(surrogate)
    total: list[Tensor] = []
    for some, those in zip(torch.split(images, batch), torch.split(positions, batch), strict=True):
        loss = criterion(surrogate.folded_logits(_laid_out(some), weights), those) * (len(some) / len(images))
        slopes = torch.autograd.grad(loss, list(weights.values()))
        if total:
            torch._foreach_add_(total, slopes)
        else:
            total = list(slopes)
    return surrogate.unfolding.gradient(total)


def match_gradient(
    surrogate: Surrogate,
    images: Tensor,
    positions: Tensor,
    mismatch: Mismatch,
    *,
    criterion: Criterion = F.cross_entropy,
) -> tuple[Tensor, Tensor]:
    """The mismatch of the images' weight gradient, 0-dimensional, and its gradient by the images, without graphs.

    Args:
        surrogate: a network; neither its weights nor their gradients are modified.
        images: float32 [N, 3, H, W] in 0..1.
        positions: int64 [N], among the network's outputs.
        mismatch: called once, with the gradient of the images' mean loss.
        criterion: that loss.
    """
    weights = _leaves(surrogate)
    leaf = _laid_out(images).requires_grad_()
    with images_alone():
        loss = criterion(surrogate.folded_logits(leaf, weights), positions)
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    gradient = surrogate.unfolding.gradient(slopes)
    # From here on only the graph is needed, not the values. A margin's slope by the head's bias depends on no image.
    edges = {place: get_gradient_edge(slope) for place, slope in enumerate(slopes) if slope.requires_grad}
    del slopes
    value, direction = mismatch(gradient)
    del gradient
    along = surrogate.unfolding.adjoint(direction)
    (of_images,) = torch.autograd.grad(list(edges.values()), leaf, [along[place] for place in edges])
    return value, of_images.contiguous()


def mismatch_of(
    surrogate: Surrogate,
    images: Tensor,
    positions: Tensor,
    mismatch: Mismatch,
    *,
    criterion: Criterion = F.cross_entropy,
) -> Tensor:
    """The first of `match_gradient` alone, at the cost of one forward and one backward pass."""
    return mismatch(weight_gradient(surrogate, images, positions, criterion=criterion, batch=len(images)))[0]


@dataclass(frozen=True)
class Match:
    """A network, the poisons' labels among its outputs, int64 [P], and what their gradient in it should match."""

    surrogate: Surrogate
    positions: Tensor
    mismatch: Mismatch


def matching_objective(matches: Sequence[Match], *, batch: int) -> Objective:
    """The objective of gradient matching for one trial: the mean mismatch over its networks and batches of poisons.

    As in the code of Geiping et al. (2021), each batch is matched by itself, in slot order, and the gradient is the sum
    over the networks, not the mean. `matches` is read at every call.
    """

    def pieces(images: Tensor) -> Iterator[tuple[Match, slice, Tensor]]:
        (poisons,) = images
        for one in matches:
            for start in range(0, len(poisons), batch):
                some = slice(start, start + batch)
                yield one, some, poisons[some]

    def loss(images: Tensor) -> Tensor:
        each = [
            mismatch_of(one.surrogate, part, one.positions[some], one.mismatch) for one, some, part in pieces(images)
        ]
        return torch.stack(each).mean()[None]

    def slope(images: Tensor) -> tuple[Tensor, Tensor]:
        losses, total = [], torch.zeros_like(images[0])
        for one, some, part in pieces(images):
            found, gradient = match_gradient(one.surrogate, part, one.positions[some], one.mismatch)
            losses.append(found)
            total[some] += gradient
        return torch.stack(losses).mean()[None], total[None]

    return Objective(loss, slope)


def train_unrolled(network: Surrogate, images: Tensor, positions: Tensor, steps: int, rate: float) -> dict[str, Tensor]:
    """The network's weights after SGD steps on one batch, with the graph back to the images.

    images are float32 [N, 3, H, W] in 0..1, positions int64 [N] among the outputs; each step keeps a graph in memory.
    """
    weights = {name: tensor.detach().requires_grad_() for name, tensor in network.weights.items()}
    for _ in range(steps):
        loss = F.cross_entropy(network.logits(images, weights), positions)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: tensor - rate * slope for (name, tensor), slope in zip(weights.items(), slopes, strict=True)}
    return weights


def gradient_norms(surrogate: Surrogate, images: Tensor, positions: Tensor) -> Tensor:
    """The norm of each image's own cross-entropy gradient, float32 [N]; one pass per image."""
    each = zip(torch.split(images, 1), torch.split(positions, 1), strict=True)
    return torch.stack([length_of(weight_gradient(surrogate, image, position)) for image, position in each])


def _leaves(surrogate: Surrogate) -> dict[str, Tensor]:
    """The folded weights, as what a gradient is taken by."""
    return {name: tensor.detach().requires_grad_() for name, tensor in surrogate.unfolding.weights.items()}


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """The dot product, in pieces: a single float32 sum of millions of terms is wrong in its fourth digit."""
    if one.device.type != "cpu":  # whose kernels add in a tree
        return torch.dot(one, other)
    pieces = zip(torch.split(one, PIECE), torch.split(other, PIECE), strict=True)
    return torch.stack([torch.dot(a, b) for a, b in pieces]).sum()


def _laid_out(images: Tensor) -> Tensor:
    """The images detached and channels-last, the fastest layout for convolutions and their gradients."""
    return images.detach().contiguous(memory_format=torch.channels_last)
