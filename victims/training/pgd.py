"""One step of projected gradient ascent on the cross-entropy, for robust training and for attacks.

Source: Madry et al. (2018, "Towards Deep Learning Models Resistant to Adversarial Attacks"), section 2.1.
"""

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
    """Move every image by `step` along the sign of its cross-entropy's gradient, and project.

    Only the images get gradients. Outside training mode an image's step does not depend on the others but for rounding.

    Args:
        images: float32 [N, 3, H, W] in 0..1.
        labels: int64 [N], positions among the logits.
        logits: images to logits, float32 [N, C].
        project: the nearest allowed images, which must lie in 0..1.
        step: how far each value moves, in units of 0..1.

    Returns:
        The next images, and each given image's cross-entropy, float32 [N]; neither requires a gradient.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        losses = F.cross_entropy(logits(leaf), labels, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return project(images.detach() + step * gradient.sign()).detach(), losses.detach()
