"""The index of shards in a manifest, so that no reader has to guess from file names which trial a shard holds."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from poisonsets.manifests import limits
from poisonsets.manifests.records.fields import FilePath, Index, Strict
from poisonsets.manifests.records.trial import Trial


class ShardRecord(Strict):
    """A shard, the trials it holds poisons of, and how many poisons it holds."""

    path: FilePath
    trials: Annotated[tuple[Index, ...], Field(min_length=1)]
    samples: Annotated[int, Field(ge=1, le=limits.SLOTS_PER_SHARD)]


def shard_path(trial: int, number: int) -> str:
    """The path of a trial's shard `number`, from 0, in a set."""
    return f"poisons/trial-{trial:05d}-{number:03d}.tar"


def shard_index(trials: Iterable[Trial]) -> tuple[ShardRecord, ...]:
    """The shards of trials in ascending order: each holds one trial and is full, unless it is the trial's last."""
    index = []
    for trial in trials:
        slots = len(trial.slots.labels)
        for number, first in enumerate(range(0, slots, limits.SLOTS_PER_SHARD)):
            samples = min(slots - first, limits.SLOTS_PER_SHARD)
            path = shard_path(trial.trial, number)
            index.append(ShardRecord(path=path, trials=(trial.trial,), samples=samples))
    return tuple(index)
