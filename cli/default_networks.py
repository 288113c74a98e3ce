"""Which networks a command works with: the files given, or what the base's default pretraining makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from poisonsets.cli import output
from poisonsets.cli.cache import cache_folder
from poisonsets.manifests import spelling
from poisonsets.manifests.errors import MissingError, UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.registry import RegisteredAttack
    from poisonsets.surrogates import Surrogates
    from poisonsets.victims.networks.weights import Weights
    from poisonsets.victims.protocols import Protocol
    from poisonsets.victims.training.pretraining import Role

WHAT = {
    "features": ("network",),
    "classifier": ("classifier of the victims' classes",),
    "robust": ("adversarially trained classifier", "--adversarial"),
}


def attackers(
    entry: RegisteredAttack, base: Base, given: list[Path], pool: list[Path], *, include: bool, quiet: bool
) -> Surrogates:
    """The attacker's networks: the files given, or what the base's default pretraining for the attack's need makes.

    Raises:
        UsageError: both kinds of surrogates were given, or the attack uses none.
        MissingError: the attack needs a network and the base has no default one.
    """
    from poisonsets.surrogates import Surrogates
    from poisonsets.victims.networks.weights import load_weights

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


def role_of(entry: RegisteredAttack) -> Role | None:
    """The role of the default network that an attack's needs ask for."""
    needs = entry.traits.needs
    if "robust" in needs:
        return "robust"
    if "gradients" in needs:
        return "classifier"
    return "features" if "features" in needs else None


def default_network(base: Base, option: str, *, role: Role = "features", quiet: bool) -> Weights:
    """The network of a base's default pretraining, trained the first time.

    Args:
        base: the base.
        option: the option that names a network instead, for the error.
        role: what it is for.
        quiet: say nothing about it.

    Raises:
        MissingError: the base has no default pretraining.
    """
    import torch

    from poisonsets.victims.training.pretrain import cached_weights
    from poisonsets.victims.training.pretraining import default_pretraining

    pretraining = default_pretraining(base, role)
    what, *flags = WHAT[role]
    if pretraining is None:
        training = spelling.command(
            "train", "--base", base.name, "--net", "resnet18", *flags, "-o", "weights.safetensors"
        )
        raise MissingError(
            f"a {what} is needed and the base {base.name} has no default one",
            f"Type {training}, then add `{option} weights.safetensors`",
        )
    with output.progress(f"training the default {base.name} {what}", quiet=quiet) as report:
        weights = cached_weights(pretraining, base, cache_folder(), device=torch.device("cpu"), progress=report)
    output.note(
        f"using the default {what} of {base.name}: {pretraining.network} trained on classes "
        f"{spelling.format_numbers(pretraining.classes)} ({weights.digest[:12]}...)",
        quiet=quiet,
    )
    return weights


def protocols(base: Base, ids: list[str], suites: list[str]) -> list[Protocol]:
    """The protocols asked for; without any, the transfer suite of the base's name.

    Raises:
        UsageError: an unknown id or suite, or none given and none fits the base.
    """
    from poisonsets.victims import protocols as registry

    if ids or suites:
        return [registry.parse(text) for text in ids] + [p for name in suites for p in registry.suite(name)]
    default = f"{base.name}-transfer"
    if default not in registry.suites():
        raise UsageError(
            f"which protocol? The base {base.name} has none of its own",
            f"Give --protocol, for instance {registry.suite(registry.suites()[0])[0].id} (`poisonsets list protocols`)",
        )
    return list(registry.suite(default))
