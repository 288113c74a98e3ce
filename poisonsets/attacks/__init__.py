"""The attacks: one registered factory per file, so the folder listing is the list of attacks."""

from functools import cache

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.plugins import load_plugins
from poisonsets.manifests.spelling import nearest
from poisonsets.registry import RegisteredAttack, registered

GROUP = "poisonsets.attacks"


@cache
def attacks() -> dict[str, RegisteredAttack]:
    """All attacks by full name, in alphabetical order. Raises as `load_plugins`."""
    load_plugins(__name__, group=GROUP)
    return dict(sorted(registered().items()))


def find(name: str) -> RegisteredAttack:
    """The attack of that name or alias, in any case. Raises UsageError, with the nearest name, if there is none."""
    known = {spelling.lower(): one for one in attacks().values() for spelling in (one.name, *one.aliases)}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    hint = f"Did you mean {known[near].name}?" if near else "`poisonsets list attacks` shows them"
    raise UsageError(f"unknown attack {name!r}", hint)
