"""The devices that a command computes on, from `--device`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def computing_on(names: str) -> tuple[torch.device, ...]:
    """The devices of a list, as `placement.resolve_all`; from here on this process keeps the memory it frees."""
    from poisonsets.manifests.memory import keep_freed_memory
    from poisonsets.victims.placement import resolve_all

    keep_freed_memory()
    return resolve_all(names)
