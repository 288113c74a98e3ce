"""What a manifest records of its shards: an index of trials by shard, so that no reader derives it from names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field

from poisonsets.manifests import limits
from poisonsets.manifests.records.fields import FilePath, Index, Strict
from poisonsets.manifests.records.trial import Trial


class ShardRecord(Strict):
    """A shard, the trials that it holds poisons of, and how many poisons it holds."""

    path: FilePath
    trials: Annotated[tuple[Index, ...], Field(min_length=1)]
    samples: Annotated[int, Field(ge=1, le=limits.SLOTS_PER_SHARD)]


def shard_path(trial: int, number: int) -> str:
    """The path in a set of a trial's shard `number`, 0-based."""
    return f"poisons/trial-{trial:05d}-{number:03d}.tar"


def shard_index(trials: Iterable[Trial]) -> tuple[ShardRecord, ...]:
    """The shards of these trials (in ascending order): each holds one trial, full but for the trial's last."""
    return tuple(record for trial in trials for record in _shards(trial.trial, len(trial.slots.labels)))


def _shards(trial: int, slots: int) -> Iterator[ShardRecord]:
    for number, first in enumerate(range(0, slots, limits.SLOTS_PER_SHARD)):
        samples = min(slots - first, limits.SLOTS_PER_SHARD)
        yield ShardRecord(path=shard_path(trial, number), trials=(trial,), samples=samples)
