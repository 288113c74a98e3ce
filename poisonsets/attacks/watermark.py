"""Watermark: the target shows through every base, a baseline without a network."""

from typing import Annotated

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack
from poisonsets.settings import Range


@attack("watermark", version=1, traits=Traits(), source="Shafahi et al. 2018")
def watermark(*, opacity: Annotated[float, Range(0, 1)] = 0.3) -> Attack:
    """Mix the target into each base, opacity t + (1 - opacity) b, and project; nothing is optimised.

    Shafahi et al. (2018), section 4: there the start of an optimisation, 0.3 for end-to-end training. By itself it is a
    baseline of Geiping et al. (2021), whose code takes epsilon / 255 as the opacity (0.03 to 0.06) and so stays inside
    the ball without projection. What differs: the published 0.3 is projected, so it fills the ball where base and
    target are far apart; with several targets poison i shows target i modulo their number.

    Args:
        opacity: share of the target; published 0.3.
    """
    import torch

    from poisonsets.budget import project

    def craft(task: Task, context: Context) -> Crafted:
        poisons, targets = task.bases.shape[1], task.targets.shape[1]
        shown = task.targets[:, torch.arange(poisons, device=task.targets.device) % targets]
        context.progress(1, 1)
        return Crafted(project(task.bases + opacity * (shown - task.bases), task.bases, task.budget))

    return craft
