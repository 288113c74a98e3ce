"""Which networks a command works with: the files given, or what the base's default recipe makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from poisonsets.cli import options, output
from poisonsets.manifests import ranges
from poisonsets.manifests.errors import MissingError, UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.registry import Entry
    from poisonsets.surrogates import Surrogates
    from poisonsets.victims.recipes import Role
    from poisonsets.victims.weights import Weights

WHAT = {
    "features": ("network", ""),
    "classifier": ("classifier of the victims' classes", ""),
    "robust": ("adversarially trained classifier", " --adversarial"),
}


def attackers(
    entry: Entry, base: Base, given: list[Path], pool: list[Path], *, include: bool, quiet: bool
) -> Surrogates:
    """The attacker's networks: the files given, or what the base's default recipe for the attack's need makes.

    Raises:
        UsageError: both kinds of surrogates were given, or the attack uses none.
        MissingError: the attack needs a network and the base has no default one.
    """
    from poisonsets.surrogates import Surrogates
    from poisonsets.victims.weights import load_weights

    if given and pool:
        raise UsageError("--surrogate and --surrogate-pool exclude one another", "Give one of them")
    role = role_of(entry)
    if role is None:
        if given or pool or include:
            options_given = "--surrogate, --surrogate-pool and --include-surrogates"
            raise UsageError(f"{entry.name} uses no network", f"Leave out {options_given}")
        return Surrogates()
    if given or pool:
        return Surrogates(tuple(load_weights(path) for path in given or pool), pool=bool(pool), included=include)
    return Surrogates((default_network(base, "--surrogate", role=role, quiet=quiet),), included=include)


def role_of(entry: Entry) -> Role | None:
    """The role of the default network that an attack's needs ask for."""
    needs = entry.traits.needs
    if "robust" in needs:
        return "robust"
    if "gradients" in needs:
        return "classifier"
    return "features" if "features" in needs else None


def default_network(base: Base, option: str, *, role: Role = "features", quiet: bool) -> Weights:
    """The network of a base's default recipe, trained the first time.

    Args:
        base: the base.
        option: the option that names a network instead, for the error.
        role: what it is for.
        quiet: say nothing about it.

    Raises:
        MissingError: the base has no default recipe.
    """
    import torch

    from poisonsets.victims.recipes import default_recipe
    from poisonsets.victims.training import cached_weights

    recipe = default_recipe(base, role)
    what, flag = WHAT[role]
    if recipe is None:
        raise MissingError(
            f"a {what} is needed and the base {base.name} has no default one",
            f"Type: poisonsets train --base {base.name} --net resnet18{flag} -o weights.safetensors, then {option} it",
        )
    with output.progress(f"training the default {base.name} {what}", quiet=quiet) as report:
        weights = cached_weights(recipe, base, options.cache_folder(), device=torch.device("cpu"), progress=report)
    output.note(
        f"using the default {what} of {base.name}: {recipe.network} trained on classes "
        f"{ranges.spelled(recipe.classes)} ({weights.digest[:12]}...)",
        quiet=quiet,
    )
    return weights
