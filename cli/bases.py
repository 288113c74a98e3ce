"""The base that a command works on: the one named, or the cached one that a set pins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from poisonsets.cli import options
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.records.base import BasePin


def finder(base: str | None, *, holdout: str | None, split_seed: int, resize: int | None) -> Callable[[BasePin], Base]:
    """How a command comes to the base that a set pins: the one named, or the cached one with the pinned digests.

    It is read once, however often a command asks for it.

    Raises:
        UsageError: options that change a base without a base.
    """
    if base is None and (holdout or split_seed or resize):
        raise UsageError("--holdout, --split-seed and --resize go with --base", "Name the base too")
    found: list[Base] = []

    def find(pin: BasePin) -> Base:
        from poisonsets.manifests.bases.cache import find_base, open_base

        cache = options.cache_folder()
        if not found and base is None:
            found.append(find_base(pin, cache=cache))
        elif not found and base is not None:
            found.append(open_base(base, cache=cache, holdout=holdout, split_seed=split_seed, resize=resize))
        return found[0].as_pinned(pin)

    return find
