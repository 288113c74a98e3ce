"""Label flip: clean images of the target's class with the adversarial label, the simplest dirty-label baseline."""

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

    Biggio et al. (2011, "Support Vector Machines Under Adversarial Label Noise"), their random flips. What differs: one
    class is flipped, to affect one target rather than the accuracy; the trial's draw chooses the images.
    """

    def craft(task: Task, context: Context) -> Crafted:
        context.progress(1, 1)
        return Crafted(task.bases.clone())

    return craft
