"""The base that a command works on: the one named, or the cached one that a set pins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from poisonsets.door.cache import cache_folder

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.records.base import BasePin


def named_base(name: str) -> Base:
    """The base of this name or spec, from the cache of the command line; errors as `open_base`."""
    from poisonsets.manifests.bases.cache import open_base

    return open_base(name, cache=cache_folder())


def refuse_unknown(name: str) -> None:
    """Refuse a base that `named_base` would not open; nothing is read, and torch is not imported."""
    from poisonsets.manifests.bases.cache import locate_base

    locate_base(name, cache=cache_folder())


def finder(name: str | None) -> Callable[[BasePin], Base]:
    """How a command comes to the base that a set pins: the one named, or the cached one with the pinned digests.

    It is read once, however often a command asks for it.
    """
    found: list[Base] = []

    def find(pin: BasePin) -> Base:
        from poisonsets.manifests.bases.cache import find_base

        if not found:
            found.append(find_base(pin, cache=cache_folder()) if name is None else named_base(name))
        return found[0].as_pinned(pin)

    return find
