"""Laws about what an attack crafts: the same promises for ours and for those of other packages.

The networks are untrained and 4 channels wide: laws are about what an attack promises, not about whether it works.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from poisonsets.experiments.laws.law import hold, law
from poisonsets.experiments.laws.tiny_tasks import (
    BASES,
    EIGHT,
    NETWORKS,
    OTHER_SOURCES,
    OTHER_TRIGGER,
    OTHERS,
    POISONS,
    SIDE,
    TRIALS,
    craft,
    floats,
    levels,
    network,
)
from poisonsets.interface import Budget
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained
from poisonsets.registry import RegisteredAttack

BUDGETS: tuple[Budget, ...] = (EIGHT, L2(squared_levels=20_000), Unconstrained())
NOTHING: tuple[Budget, ...] = (Linf.model_construct(levels=0), L2.model_construct(squared_levels=0))
NETWORK_NEEDS = {"features", "gradients", "robust"}
# Matching a weight gradient is a smoother task, and one that views and retraining change from step to step.
SMOOTH = (network(1, scale=4),)
STEADY = {"augment": "false", "retraining": "0", "inner_learning_rate": "0.1"}


@law("images")
def poisons_are_images(entry: RegisteredAttack) -> None:
    """Poisons are finite float32 images in 0..1, one a base, and some base is changed."""
    for budget in BUDGETS:
        crafted = craft(entry, budget=budget)
        images, shape = crafted.images, (TRIALS, POISONS, 3, SIDE, SIDE)
        hold(tuple(images.shape) == shape, f"images of shape {tuple(images.shape)}", str(shape))
        hold(images.dtype == torch.float32, f"images of {images.dtype}", "torch.float32")
        hold(bool(torch.isfinite(images).all()), "values that are not finite", "finite values")
        least, most = float(images.min()), float(images.max())
        hold(0 <= least <= most <= 1, f"values in {least:.4g}..{most:.4g}", "0..1: clamp, or `budget.project`")
        changed = bool((levels(crafted, budget) != BASES).any()) or not entry.traits.perturbs
        hold(changed, "poisons equal to their bases", "a changed pixel, or Traits(perturbs=False)")


@law("budget")
def poisons_keep_the_budget(entry: RegisteredAttack) -> None:
    """Poisons stay inside an l-infinity and an l2 budget, as floats and as integer levels."""
    for budget in BUDGETS:
        crafted = craft(entry, budget=budget)
        moved = crafted.images.detach().double() - floats(BASES).double()
        delta = levels(crafted, budget).astype(np.int64) - BASES
        if isinstance(budget, Linf):
            found, integer, most = float(moved.abs().max()) * 255, int(np.abs(delta).max()), float(budget.levels)
        elif isinstance(budget, L2):
            found = float(moved.flatten(2).norm(dim=2).max()) * 255
            integer = float((delta**2).sum(axis=(2, 3, 4)).max()) ** 0.5
            most = budget.squared_levels**0.5
        else:
            continue
        wanted = f"at most {most:g}: end with `budget.project`"
        hold(found <= most + 255e-6, f"a change of {found:.6g} levels ({budget.norm})", wanted)
        hold(integer <= most + 1e-9, f"{integer:.6g} levels after rounding ({budget.norm})", wanted)


@law("networks untouched")
def networks_are_left_alone(entry: RegisteredAttack) -> None:
    """Surrogates are as before: their outputs, their weights, no gradient left behind."""
    probe = floats(BASES[0])
    before = [(net.features(probe), net.logits(probe), net.weights) for net in NETWORKS]
    before = [(f.clone(), o.clone(), {name: tensor.clone() for name, tensor in w.items()}) for f, o, w in before]
    craft(entry)
    for net, (features, logits, weights) in zip(NETWORKS, before, strict=True):
        same = torch.equal(net.features(probe), features) and torch.equal(net.logits(probe), logits)
        same = same and all(torch.equal(tensor, weights[name]) for name, tensor in net.weights.items())
        hold(same, "a surrogate changed", "networks as they were")
        tracked = [name for name, one in net.weights.items() if one.requires_grad or one.grad is not None]
        hold(not tracked, f"gradients of {', '.join(tracked)} left behind", "none: differentiate by the images")


@law("global random states untouched")
def random_states_are_left_alone(entry: RegisteredAttack) -> None:
    """The global random states of torch, NumPy and Python are as before."""
    states = (torch.get_rng_state(), _key(), random.getstate())
    craft(entry)
    wanted = "all randomness from context.generators"
    hold(torch.equal(torch.get_rng_state(), states[0]), "torch's global generator was used", wanted)
    hold(_key() == states[1], "NumPy's global generator was used", wanted)
    hold(random.getstate() == states[2], "Python's global generator was used", wanted)


def _key() -> bytes:
    """NumPy's global state."""
    _, key, *place = np.random.get_state(legacy=True)
    return np.asarray(key).tobytes() + repr(place).encode()


@law("same seed, same bytes")
def a_seed_decides_the_bytes(entry: RegisteredAttack) -> None:
    """The same seed gives the same bytes and history, whatever the global random state."""
    first = craft(entry)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)  # whatever the caller did with the global state
        again = craft(entry)
    same = first.images.detach().numpy().tobytes() == again.images.detach().numpy().tobytes()
    hold(same, "other poisons in a second run", "equal bytes: draw from context.generators alone")
    hold(first.history == again.history, "another history in a second run", "an equal one")


@law("zero budget", lambda traits: traits.perturbs)
def a_zero_budget_returns_the_bases(entry: RegisteredAttack) -> None:
    """A zero budget returns the bases."""
    for budget in NOTHING:
        crafted = craft(entry, budget=budget)
        moved = float((crafted.images.detach() - floats(BASES)).abs().max())
        hold(moved <= 1e-6, f"a change of {moved * 255:.4g} levels ({budget.norm})", "the bases")
        hold(np.array_equal(levels(crafted, Unconstrained()), BASES), "other integer levels", "the bases")


def _matters(entry: RegisteredAttack, what: str, change: Mapping[str, Any]) -> None:
    one, other = levels(craft(entry)), levels(craft(entry, **change))
    same = [trial for trial in range(TRIALS) if np.array_equal(one[trial], other[trial])]
    hold(not same, f"equal poisons in trial {', '.join(map(str, same))} with another {what}", "others, by the traits")


def _does_not_matter(entry: RegisteredAttack, what: str, change: Mapping[str, Any]) -> None:
    same = torch.equal(craft(entry).images, craft(entry, **change).images)
    hold(same, f"other poisons with another {what}", "equal ones, by the traits")


@law("seed matters", lambda traits: traits.randomised)
def another_seed_differs(entry: RegisteredAttack) -> None:
    """Another seed gives other poisons in every trial."""
    _matters(entry, "seed", {"seed": 1})


@law("seed does not matter", lambda traits: not traits.randomised)
def another_seed_is_the_same(entry: RegisteredAttack) -> None:
    """Another seed gives the same poisons, unless Traits(randomised=True)."""
    _does_not_matter(entry, "seed", {"seed": 1})


@law("target matters", lambda traits: traits.targeted)
def another_target_differs(entry: RegisteredAttack) -> None:
    """Other targets give other poisons in every trial, unless Traits(targeted=False)."""
    _matters(entry, "target", {"targets": OTHERS})


@law("target does not matter", lambda traits: not traits.targeted)
def another_target_is_the_same(entry: RegisteredAttack) -> None:
    """Other targets give the same poisons."""
    _does_not_matter(entry, "target", {"targets": OTHERS})


@law("source images matter", lambda traits: "source images" in traits.needs)
def other_source_images_differ(entry: RegisteredAttack) -> None:
    """Other source images give other poisons in every trial."""
    _matters(entry, "set of source images", {"sources": OTHER_SOURCES})


@law("trigger matters", lambda traits: "trigger" in traits.needs and traits.perturbs)
def another_trigger_differs(entry: RegisteredAttack) -> None:
    """Another trigger gives other poisons in every trial."""
    _matters(entry, "trigger", {"trigger": OTHER_TRIGGER})


@law("objective falls", lambda traits: traits.objective != "none")
def the_objective_falls(entry: RegisteredAttack) -> None:
    """The history has one finite curve a trial, which ends below 0.9 of its start."""
    if entry.traits.objective == "gradient":
        found = craft(entry, budget=Linf(levels=32), steps=30, networks=SMOOTH, settings=STEADY)
    else:
        found = craft(entry, budget=Linf(levels=32), steps=30)
    history = found.history
    hold(len(history) == TRIALS, f"{len(history)} curves for {TRIALS} trials", "one a trial")
    for trial, curve in enumerate(history):
        hold(len(curve) > 1, f"{len(curve)} values in trial {trial}", "one before the first step, and more")
        hold(bool(np.isfinite(curve).all()), f"values of trial {trial} that are not finite", "finite values")
        fell = f"{curve[0]:.4g} to {curve[-1]:.4g} in trial {trial}"
        hold(curve[-1] < 0.9 * curve[0], fell, "below 0.9 of the start after 30 steps")


@law("no history", lambda traits: traits.objective == "none")
def without_an_objective_there_is_no_history(entry: RegisteredAttack) -> None:
    """Without an objective there is no history."""
    history = craft(entry).history
    hold(history == (), f"a history of {len(history)} curves", "none, or Traits(objective='feature' or 'gradient')")


@law("leaves images", lambda traits: not traits.perturbs)
def what_perturbs_nothing_returns_the_bases(entry: RegisteredAttack) -> None:
    """What perturbs nothing returns the bases."""
    hold(torch.equal(craft(entry).images, floats(BASES)), "changed images", "the bases, or Traits(perturbs=True)")


@law("selects", lambda traits: traits.selects)
def a_selection_has_the_size_asked_for(entry: RegisteredAttack) -> None:
    """A selection has as many ascending positions a trial as are asked for."""
    kept, wanted = craft(entry, keep=POISONS - 1).kept, (TRIALS, POISONS - 1)
    shape = None if kept is None else tuple(kept.shape)
    hold(shape == wanted, f"a selection of shape {shape}", str(wanted))
    for slots in [] if kept is None else kept.tolist():
        sound = slots == sorted(set(slots)) and set(slots) <= set(range(POISONS))
        hold(sound, f"positions {slots}", f"ascending ones among 0..{POISONS - 1}")


@law("needs no network", lambda traits: not traits.needs & NETWORK_NEEDS)
def what_needs_no_network_uses_none(entry: RegisteredAttack) -> None:
    """What declares no need of a network crafts the same without one."""
    same = torch.equal(craft(entry, networks=()).images, craft(entry).images)
    hold(same, "other poisons without networks", "equal ones, or needs={'features'} or {'gradients'}")


@law("trials apart", lambda traits: traits.batched)
def a_trial_does_not_depend_on_its_block(entry: RegisteredAttack) -> None:
    """A trial's poisons do not depend on the others of its block, but for rounding."""
    together = levels(craft(entry)).astype(np.int64)
    for trial in range(TRIALS):
        alone = levels(craft(entry, trials=[trial]), trials=[trial]).astype(np.int64)
        apart = np.abs(together[trial] - alone[0])  # convolutions add in another order in batches of another size
        seen = f"trial {trial} alone differs by {int(apart.max())} levels, in {(apart > 0).mean():.1%} of values"
        hold(bool(apart.max() <= 1 and (apart > 0).mean() <= 0.01), seen, "one level in 1% of values")
