"""Refuse what `poisonset/1` can say and this version does not read, so that nothing is silently ignored."""

from collections.abc import Iterator

from poisonsets.manifests.errors import UnsupportedError
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.records.triggers import AdditiveTrigger, TriggerRecord, WarpTrigger


def refuse_unsupported(manifest: Manifest, where: str) -> None:
    """Raise UnsupportedError for the first value of SPEC.md section 4.12 in a manifest; `where` is its path."""
    for name, record in manifest.triggers.items():
        refuse_trigger(record, f"{where}: trigger {name}")
    for shard in manifest.shards:
        if len(shard.trials) > 1:
            raise _error(f"{where}: {shard.path}", f"a shard of {len(shard.trials)} trials")
    for trial in manifest.trials:
        for what in _of_trial(trial):
            raise _error(f"{where}: trial {trial.trial}", what)


def refuse_trigger(record: TriggerRecord, where: str) -> None:
    """Raise UnsupportedError for a trigger that `stamp` cannot put on an image."""
    if isinstance(record, WarpTrigger | AdditiveTrigger):
        raise _error(where, f"kind {record.kind}")


def _of_trial(trial: Trial) -> Iterator[str]:
    for number, target in enumerate(trial.targets):
        if target.adversarial_label is not None:
            yield f"an adversarial label of its own ({target.adversarial_label}) at target {number}"
    if trial.slots.cover:
        yield f"cover rows ({len(trial.slots.cover)} slots)"
    if trial.test_trigger is not None:
        yield f"another trigger at test time ({trial.test_trigger})"


def _error(where: str, what: str) -> UnsupportedError:
    message = f"{where}: {what}: not supported by this version of poisonsets"
    return UnsupportedError(message, "A later version may read it: `pip install --upgrade poisonsets`")
