"""Triggers by name: resolve what a user types after `--trigger` into a trigger that fits the base."""

from poisonsets.manifests import spelling
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.settings import record_settings, spell_setting
from poisonsets.triggers.kinds import GROUP, ResolvedTrigger, TriggerKind, find, kind, kinds

__all__ = ["GROUP", "ResolvedTrigger", "TriggerKind", "find", "kind", "kinds", "resolve"]


def resolve(spec: str, base: Base, *, seed: int) -> tuple[Trigger, str]:
    """Resolve `KIND[,key=value...]` for the images of a base.

    Args:
        spec: for instance `patch`, `patch,size=3`, `square,geometry=literal`; paths must not contain a comma.
        base: its images give the size; `low-variance` reads them.
        seed: of what the spec leaves open: colours, places, the choice of an image.

    Returns:
        The trigger, and the spec a manifest records: every option with its value, files by base name and digest.
        Without files it resolves to the same trigger.

    Raises:
        UsageError: an unknown kind or option, an invalid value, or a trigger that does not fit the images.
        MissingError, DamagedError: a file is missing or not a PNG.
    """
    name, *options = spec.split(",")
    found = find(name)
    settings = found.options(spelling.parse_pairs(options, found.title))
    trigger, resolved = found.factory(**settings)(base, seed)
    try:
        stamp(base.train.images[0], trigger, "train/0")
    except UsageError as error:
        raise UsageError(f"{found.title}: {error.message}", "Make it smaller or put it elsewhere") from error
    values = record_settings({**settings, **resolved}).items()
    return trigger, ",".join([found.name, *(f"{key}={spell_setting(value)}" for key, value in values)])
