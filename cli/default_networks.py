"""Which networks a command works with: the files given, or what the base's default pretraining makes."""

from __future__ import annotations

from collections.abc import Sequence
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
    from poisonsets.victims.networks.shape import Shape
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

    if given and pool:
        raise UsageError("--surrogate and --surrogate-pool exclude one another", "Give one of them")
    role = role_of(entry)
    if role is None:
        if given or pool or include:
            options_given = "--surrogate, --surrogate-pool and --include-surrogates"
            raise UsageError(f"{entry.name} uses no network", f"Leave out {options_given}")
        return Surrogates()
    if given or pool:
        return Surrogates(tuple(map(read_network, given or pool)), pool=bool(pool), included=include)
    return Surrogates((default_network(base, "--surrogate", role=role, quiet=quiet),), included=include)


def read_network(given: Path) -> Weights:
    """The network of a weights file or of a name in the cache, spelled `FILE[@input=S]` or `NAME[@input=S]`.

    Raises:
        UsageError: the input size is out of range.
        MissingError, DamagedError: as `load_weights` and `find_weights`.
    """
    from poisonsets.victims.networks.shape import parse_input
    from poisonsets.victims.networks.weights import load_weights

    file, found, size = str(given).rpartition("@input=")
    if not found or given.exists():
        return load_weights(weights_file(given))
    return load_weights(weights_file(Path(file)), input=parse_input(size))


def weights_file(given: Path) -> Path:
    """A weights file as it was named, or the one of that name in the cache; a file that is there comes first.

    Raises:
        MissingError, DamagedError: as `find_weights`.
    """
    from poisonsets.victims.networks.weights_cache import ENDING, find_weights

    if given.exists() or given.is_symlink() or len(given.parts) > 1 or given.suffix == ENDING:
        return given
    return find_weights(str(given), cache=cache_folder())


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
    if pretraining is None:
        raise _no_default(base, option, role)
    what = WHAT[role][0]
    with output.progress(f"training the default {base.name} {what}", quiet=quiet) as report:
        weights = cached_weights(pretraining, base, cache_folder(), device=torch.device("cpu"), progress=report)
    output.note(
        f"using the default {what} of {base.name}: {pretraining.network} trained on classes "
        f"{spelling.format_numbers(pretraining.classes)} ({weights.digest[:12]}...)",
        quiet=quiet,
    )
    return weights


def _no_default(base: Base, option: str, role: Role) -> MissingError:
    what, *flags = WHAT[role]
    training = spelling.command("train", "--base", base.name, "--net", "resnet18", *flags, "-o", "weights.safetensors")
    return MissingError(
        f"a {what} is needed and the base {base.name} has no default one",
        f"Type {training}, then add `{option} weights.safetensors`",
    )


def protocols(base: Base, ids: list[str], suites: list[str], shapes: Sequence[Shape]) -> list[Protocol]:
    """The protocols asked for; without any, the transfer suite of the base's name, or `transfer`.

    A suite that follows the extractors, and the one that stands for none asked for, have the networks of these.

    Args:
        base: the base.
        ids, suites: what was asked for.
        shapes: the architectures of the extractors given.

    Raises:
        UsageError: an unknown id or suite.
        MissingError: no extractor was given, and the base has no default one.
    """
    from poisonsets.victims import protocols as registry

    if ids or suites:
        found = [registry.parse(text) for text in ids]
        for name in suites:
            found += _following(base, name, shapes) if registry.follows_extractor(name) else registry.suite(name)
        return found
    own = f"{base.name}-transfer"
    if own not in registry.suites():
        return _following(base, "transfer", shapes)
    return [registry.of_network(own, shape) for shape in dict.fromkeys(shapes)] or list(registry.suite(own))


def _following(base: Base, suite: str, shapes: Sequence[Shape]) -> list[Protocol]:
    from poisonsets.victims import protocols as registry
    from poisonsets.victims.training.pretraining import default_pretraining

    if not shapes:
        pretraining = default_pretraining(base, "features")
        if pretraining is None:
            raise _no_default(base, "--extractor", "features")
        shapes = [pretraining.shape]
    return [registry.of_network(suite, shape) for shape in dict.fromkeys(shapes)]
