"""Patch backdoor (dirty label): images of other classes with a trigger on them, under the adversarial label."""

from __future__ import annotations

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

    Truong et al. (2020), section 3: m of the adversarial class's images make room for m images drawn from the source
    classes (all others, or one), which carry the trigger; the originals stay in their classes, so no class grows. Gu
    et al. (2017, BadNets) add the stamped copies instead (composition `add`). Any trigger will do: Truong et al. use a
    black square, one at a random place, a sine and an image of low variance. What differs: the places that open up
    are drawn from the trial's seed, which neither paper says; the images returned here carry no trigger yet, for it is
    stamped, once and in integers, where all poisons become bytes.
    """

    def craft(task: Task, context: Context) -> Crafted:
        context.progress(1, 1)
        return Crafted(task.bases.clone())

    return craft
