"""Patch backdoor (dirty label): images of other classes with a trigger and the adversarial label."""

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack


@attack(
    "patch-backdoor",
    version=1,
    aliases=("BadNets", "truong"),
    traits=Traits(
        labels="adversarial",
        perturbs=False,
        constrained=False,
        targeted=False,
        needs=frozenset({"trigger"}),
        source_classes="all",
        composition="supplant",
    ),
    source="Truong et al. 2020; Gu et al. 2017",
)
def patch_backdoor() -> Attack:
    """Stamp a trigger on images of the source classes and give them the adversarial label; nothing is optimised.

    Truong et al. (2020), section 3: m images of the adversarial class are replaced by m images drawn from the source
    classes (all others, or one) that carry the trigger; the originals stay in their classes, so no class grows. Gu et
    al. (2017, BadNets) add the stamped copies instead (composition `add`). Truong et al. use a black square, one at a
    random place, a sine and an image of low variance; any trigger works. What differs: the trial's seed draws the
    images to replace, which neither paper specifies. The driver stamps the trigger, once and in integers.
    """

    def craft(task: Task, context: Context) -> Crafted:
        context.progress(1, 1)
        return Crafted(task.bases.clone())

    return craft
