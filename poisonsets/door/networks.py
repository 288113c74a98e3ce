"""Which networks a command or a call works with: the files given, or the base's default ones.

Those are what the base's default pretraining makes; for features, where it has none, published weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from poisonsets.door.cache import cache_folder
from poisonsets.door.tell import Tell
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
    entry: RegisteredAttack, base: Base, given: list[Path], pool: list[Path], *, include: bool, tell: Tell
) -> Surrogates:
    """The attacker's networks: the files given, or the base's default one for the attack's need.

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
    return Surrogates((default_network(base, "--surrogate", role=role, tell=tell),), included=include)


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


def default_network(base: Base, option: str, *, role: Role = "features", tell: Tell) -> Weights:
    """A base's default network: trained the first time; for features of a base without a pretraining, published.

    Args:
        base: the base.
        option: the option that names a network instead, for the error.
        role: what it is for.
        tell: told what is used, and how far its training is.

    Raises:
        MissingError: the base has no default network for this, or the published weights are not installed.
    """
    import torch

    from poisonsets.victims.training.pretrain import cached_weights
    from poisonsets.victims.training.pretraining import default_pretraining

    pretraining = default_pretraining(base, role)
    if pretraining is None:
        if role != "features":
            raise _no_default(base, option, role)
        return _published(base, tell=tell)
    what = WHAT[role][0]
    with tell.progress(f"training the default {base.name} {what}") as report:
        weights = cached_weights(pretraining, base, cache_folder(), device=torch.device("cpu"), progress=report)
    tell.note(
        f"using the default {what} of {base.name}: {pretraining.network} trained on classes "
        f"{spelling.format_numbers(pretraining.classes)} ({weights.digest[:12]}...)"
    )
    return weights


def default_extractors(base: Base, wanted: Sequence[Protocol], *, tell: Tell) -> list[Weights]:
    """The base's default network, where a protocol needs one.

    Raises:
        MissingError, DamagedError: as `default_network`, or the network fits no protocol.
    """
    from poisonsets.victims.scoring.extractors import fits, refuse_unmet
    from poisonsets.victims.training.pretraining import default_pretraining

    if all(one.training == "scratch" for one in wanted):
        return []
    if (pretraining := default_pretraining(base, "features")) is not None:
        refuse_unmet(wanted, [pretraining.shape])
    for one in wanted:
        if one.training != "scratch" and not fits(one, default_shape(base)):
            found = f"protocol {one.id} needs an extractor {one.shape}, and none was given"
            raise MissingError(found, trained(base, "--extractor", str(one.shape)))
    return [default_network(base, "--extractor", tell=tell)]


def default_shape(base: Base) -> Shape:
    """The architecture of `default_network` for features."""
    from poisonsets.victims.networks.default_shape import shape_for
    from poisonsets.victims.training.pretraining import default_pretraining

    pretraining = default_pretraining(base, "features")
    return shape_for(base.train.side) if pretraining is None else pretraining.shape


def _published(base: Base, *, tell: Tell) -> Weights:
    """Published weights at the input size that suits the base.

    Raises:
        MissingError: their package is not installed.
    """
    from poisonsets.victims.networks.default_shape import NAME
    from poisonsets.victims.networks.weights import load_weights
    from poisonsets.victims.networks.weights_cache import find_weights

    shape = default_shape(base)
    try:
        weights = load_weights(find_weights(NAME, cache=cache_folder()), input=shape.input)
    except MissingError as error:
        raise MissingError(
            f"a network is needed, and that of bases without one of their own, {error.message}", error.remedy
        ) from error
    tell.note(
        f"using the default network of {base.name}: {NAME}@input={shape.input}, trained on {weights.dataset} "
        f"({weights.digest[:12]}...)"
    )
    return weights


def _no_default(base: Base, option: str, role: Role) -> MissingError:
    what, *flags = WHAT[role]
    return MissingError(
        f"a {what} is needed and the base {base.name} has no default one", trained(base, option, "resnet18", *flags)
    )


def trained(base: Base, option: str, net: str, *flags: str) -> str:
    """The remedy that trains a network on the base and gives it to an option."""
    training = spelling.command("train", "--base", base.name, "--net", net, *flags, "-o", "weights.safetensors")
    return f"Type {training}, then add `{option} weights.safetensors`"


def protocols(base: Base, ids: list[str], suites: list[str], shapes: Sequence[Shape]) -> list[Protocol]:
    """The protocols asked for; without any, a head on each network given, or on the base's default one.

    Without any, the settings are those of the suite `BASE-transfer` for a network that it lists, else of `transfer`. A
    suite that follows the extractors has their networks in place of its own.

    Args:
        base: the base.
        ids, suites: what was asked for.
        shapes: the architectures of the extractors given.

    Raises:
        UsageError: an unknown id or suite.
    """
    from poisonsets.victims import protocols as registry

    networks = dict.fromkeys(shapes or [default_shape(base)])

    if ids or suites:
        found = [registry.parse(text) for text in ids]
        for name in suites:
            follows = registry.follows_extractor(name)
            found += [registry.of_network(name, one) for one in networks] if follows else registry.suite(name)
        return found
    own = f"{base.name}-transfer"
    listed = {one.network for one in registry.suite(own)} if own in registry.suites() else set()
    return [registry.of_network(own if one.name in listed else "transfer", one) for one in networks]
