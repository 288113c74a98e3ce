"""One step of projected gradient ascent on the cross-entropy, the same for training robust networks and for attacks.

Source: Madry et al. (2018, "Towards Deep Learning Models Resistant to Adversarial Attacks"), section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def pgd_step(
    images: Tensor,
    labels: Tensor,
    logits: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    *,
    step: float,
) -> tuple[Tensor, Tensor]:
    """Move every image by the sign of the gradient of its cross-entropy, up, and project.

    Gradients are computed for the images alone, also where the network's parameters require one. An image's step
    does not depend on the other images but for float rounding, unless the network is in training mode.

    Args:
        images: float32 [N, 3, H, W] in 0..1.
        labels: int64 [N], positions among the logits.
        logits: images to logits, float32 [N, C].
        project: the nearest allowed images, in the shape it is given; it must also keep them in 0..1.
        step: how far each value moves, in units of 0..1.

    Returns:
        The next images, and each given image's cross-entropy, float32 [N]; neither requires a gradient.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        losses = F.cross_entropy(logits(leaf), labels, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return project(images.detach() + step * gradient.sign()).detach(), losses.detach()
