"""Uniform noise at the budget: the negative control every attack must beat."""

from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.registry import Traits, attack


@attack(
    "noise",
    version=1,
    traits=Traits(randomised=True, targeted=False),
    source="none: a control",
)
def noise() -> Attack:
    """Perturb each base by uniform noise that fills the budget, without target or network.

    Under l-infinity every channel value moves by a uniform whole number of levels in -epsilon..epsilon; under l2 the
    direction is uniform on the sphere and the length is the radius. What differs from a paper: there is none. If noise
    succeeds, the benchmark measures something other than the attack.
    """
    import torch

    from poisonsets.budget import project
    from poisonsets.manifests.records.trial import L2, Linf

    def craft(task: Task, context: Context) -> Crafted:
        shape, budget = task.bases.shape[1:], task.budget
        if isinstance(budget, L2):
            drawn = [torch.randn(shape, generator=generator) for generator in context.generators]
            scale = 1e6  # far outside the ball, so that projection puts it on the sphere
        else:
            levels = budget.levels if isinstance(budget, Linf) else 255
            drawn = [
                torch.randint(-levels, levels + 1, shape, generator=generator).float()
                for generator in context.generators
            ]
            scale = 1 / 255
        delta = torch.stack(drawn).to(context.device) * scale
        return Crafted(project(task.bases + delta, task.bases, budget))

    return craft
