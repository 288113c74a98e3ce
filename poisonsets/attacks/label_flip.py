"""Label flip: clean images of the target's class under the adversarial label, the simplest dirty-label baseline."""

from __future__ import annotations

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack


@attack(
    "label-flip",
    version=1,
    traits=Traits(labels="adversarial", perturbs=False, targeted=False),
    source="Biggio et al. 2011",
)
def label_flip() -> Attack:
    """Give unchanged images of the target's class the adversarial label; nothing is optimised.

    Biggio et al. (2011, "Support Vector Machines Under Adversarial Label Noise"), their random flips. What differs:
    flips are of one class and aim at one target, not at the accuracy; which images are flipped is drawn with the
    trial, and not searched for.
    """

    def craft(task: Task, context: Context) -> Crafted:
        context.progress(1, 1)
        return Crafted(task.bases.clone())

    return craft
