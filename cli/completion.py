"""What a shell offers for the value that is being typed: names of attacks, bases, formats and so on, with a few words.

What loads torch takes a second or two, and is asked for by TAB alone.
"""

from __future__ import annotations

Offer = tuple[str, str]


def attacks() -> list[Offer]:
    """The attacks, by full name."""
    from poisonsets.attacks import attacks as registry

    return [(entry.name, entry.traits.threat_model) for entry in registry().values()]


def presets() -> list[Offer]:
    """The presets of settings that are shipped."""
    from poisonsets.presets import names

    return [(name, "") for name in names()]


def triggers() -> list[Offer]:
    """The kinds of triggers."""
    from poisonsets.triggers import kinds

    return [(kind.name, kind.summary) for kind in kinds().values()]


def bases() -> list[Offer]:
    """The bases in the cache, and those that need no files."""
    from poisonsets.cli.cache import cache_folder
    from poisonsets.manifests.bases.cache import list_bases

    return [(entry.name, entry.spec) for entry in list_bases(cache_folder()) if entry.problem is None]


def setups() -> list[Offer]:
    """The published setups that are computed."""
    from poisonsets.manifests.trials.published import RULES

    return [(name, f"{count} trials") for name, (count, _) in RULES.items()]


def formats() -> list[Offer]:
    """The formats of other tools."""
    from poisonsets.manifests.interop.formats import formats as registry

    return [(one.name, one.summary) for one in registry().values()]


def written_formats() -> list[Offer]:
    """Those that are written too."""
    from poisonsets.manifests.interop.formats import formats as registry

    return [(one.name, one.summary) for one in registry().values() if one.write is not None]


def networks() -> list[Offer]:
    """The networks by their spellings."""
    from poisonsets.victims.networks import spellings

    return [(name, "") for name in spellings()]


def suites() -> list[Offer]:
    """The suites of protocols."""
    from poisonsets.victims.protocols import suites as registry

    return [(name, "") for name in registry()]


def protocols() -> list[Offer]:
    """The protocols of all suites, by id."""
    from poisonsets.victims.protocols import suite
    from poisonsets.victims.protocols import suites as registry

    return [(protocol.id, protocol.training) for name in registry() for protocol in suite(name)]
