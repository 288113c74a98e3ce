"""Triggers by name: what a user types after `--trigger` becomes a trigger that fits the base, or a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.overlay.stamp import Trigger, stamp
from poisonsets.manifests.records.origin import Setting
from poisonsets.settings import parse_settings, record_settings
from poisonsets.triggers.kinds import Made, TriggerKind, find, kind, kinds

__all__ = ["Made", "TriggerKind", "find", "kind", "kinds", "parsed"]


def parsed(spec: str, base: Base, *, seed: int) -> tuple[Trigger, str]:
    """The trigger of `KIND[,key=value...]` on the images of a base.

    Args:
        spec: for instance `patch`, `patch,size=3`, `square,geometry=literal`; paths may not hold a comma.
        base: its images give the size; `low-variance` reads them.
        seed: of whatever the trigger leaves open: colours, places, the choice of an image.

    Returns:
        The trigger, and the same spec with every option and its value, files by base name and digest: what a manifest
        records. Without files it reads back to the same trigger.

    Raises:
        UsageError: an unknown kind or option, a value that is none, a trigger that does not fit the images.
        MissingError, DamagedError: a file that is not there, or is no PNG.
    """
    name, *options = spec.split(",")
    found = find(name)
    owner = f"trigger {found.name}"
    made = found.factory(**parse_settings(owner, found.factory, _pairs(owner, options)))(base, seed)
    try:
        stamp(base.train.images[0], made.trigger, "train/0")
    except UsageError as error:
        raise UsageError(f"{owner}: {error.message}", "Make it smaller or put it elsewhere") from error
    return made.trigger, ",".join([found.name, *(f"{key}={_spelled(value)}" for key, value in _resolved(made))])


def _pairs(owner: str, options: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"{owner}: {option!r} is no option", "Write key=value, separated by commas")
        if key in given:
            raise UsageError(f"{owner}: {key} is given twice", "Give it once")
        given[key] = value
    return given


def _resolved(made: Made) -> list[tuple[str, Setting]]:
    options: Mapping[str, Setting] = record_settings(made.options)
    return list(options.items())


def _spelled(value: Setting) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
