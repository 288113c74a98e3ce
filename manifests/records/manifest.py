"""The typed model of `manifest.json`, format `poisonset/1`; SPEC.md is its normative text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from poisonsets.manifests import limits
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.fields import FilePath, Index, Name, Sha256, Strict, Text, Title
from poisonsets.manifests.records.origin import AttackRecord, PluginRecord, SetupRecord, SurrogateRecord
from poisonsets.manifests.records.shards import ShardRecord, shard_index
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.records.triggers import PatchTrigger, TriggerRecord, picture_paths

NOTICE = "Poisoned data for research on defences. Never train a model that people rely on with it."


class FileRecord(Strict):
    """A file of the set."""

    path: FilePath
    bytes: Annotated[int, Field(ge=0, le=limits.FILE_BYTES)]
    sha256: Sha256


class Tool(Strict):
    """The program that wrote the set."""

    name: Name
    version: Name
    commit: Name | None = None


class Manifest(Strict):
    """The document `manifest.json`."""

    format: Literal["poisonset/1"] = "poisonset/1"
    notice: Text = NOTICE
    name: Title
    content_digest: Sha256
    checksum: Sha256
    base: BasePin
    setup: SetupRecord
    seed: Index
    attack: AttackRecord
    plugins: tuple[PluginRecord, ...] = ()
    surrogates: tuple[SurrogateRecord, ...] = ()
    triggers: dict[Name, TriggerRecord] = {}
    trigger_pixels: dict[FilePath, Sha256] = {}
    trials: Annotated[tuple[Trial, ...], Field(min_length=1, max_length=limits.TRIALS)]
    shards: Annotated[tuple[ShardRecord, ...], Field(max_length=limits.FILES)]
    files: Annotated[tuple[FileRecord, ...], Field(max_length=limits.FILES)]
    unhashed: tuple[Literal["run.json"]] = ("run.json",)
    tool: Tool
    libraries: dict[Name, Text]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        for contradiction in _contradictions(self):
            raise ValueError(contradiction)
        return self


def _contradictions(manifest: Manifest) -> Iterator[str]:
    ascending: dict[str, list[Any]] = {
        "trials": [trial.trial for trial in manifest.trials],
        "plugins": [(plugin.kind, plugin.name) for plugin in manifest.plugins],
        "files": [file.path for file in manifest.files],
    }
    for what, keys in ascending.items():
        if keys != sorted(set(keys)):
            yield f"{what} are not in strictly ascending order"
    # `unsupported.py` refuses shards of several trials, by name.
    if manifest.shards != shard_index(manifest.trials) and all(len(shard.trials) == 1 for shard in manifest.shards):
        yield "shards is not the index of the trials' shards: path, trial and samples of each"
    pictures = {path for trigger in manifest.triggers.values() for path in picture_paths(trigger)}
    if pictures != set(manifest.trigger_pixels):
        yield "trigger_pixels does not name exactly the pictures of the declared triggers"
    for trial in manifest.trials:
        yield from _of_triggers(trial, manifest.triggers)
        yield from _of_labels(trial, len(manifest.base.classes))


def _of_triggers(trial: Trial, declared: Mapping[str, TriggerRecord]) -> Iterator[str]:
    for name in (trial.trigger, trial.test_trigger):
        if name is not None and name not in declared:
            yield f"trial {trial.trial} names the trigger {name}, which is not declared"
    # Only a patch has pixels of its own to check; exempting any other kind would be a budget of 255 levels.
    exempt = getattr(trial.constraint, "exempt_trigger", False)
    if exempt and not isinstance(declared.get(trial.trigger or ""), PatchTrigger):
        yield f"trial {trial.trial} exempts a trigger from its constraint, but has none of kind patch"


def _of_labels(trial: Trial, classes: int) -> Iterator[str]:
    labels = {
        "its adversarial label": [trial.adversarial_label],
        "a poison's label": trial.slots.labels,
        "a target's label": [target.label for target in trial.targets],
        "a target's adversarial label": [target.adversarial_label or 0 for target in trial.targets],
        "a source class": trial.source_classes,
    }
    for what, found in labels.items():
        if (largest := max(found, default=0)) >= classes:
            yield f"trial {trial.trial}: {what} is {largest}, the base has {classes} classes"
