"""Trials from a setup file, a published pickle or our JSON form, read without executing anything.

Source of the pickles: the benchmark of Schwarzschild et al. (2021), `poison_setups/*.pickle`, lists of dicts with the
keys `target class`, `target index`, `base class` and `base indices`. Trials 78 and 84 of its CIFAR-10 transfer setup
name a base twice; that is kept.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.records.origin import FileSetup
from poisonsets.manifests.records.trial import SplitTarget
from poisonsets.manifests.trials.plan import Plan

FORMAT: Final = "poisonset-setups/1"
PICKLE_KEYS: Final = ("target class", "target index", "base class", "base indices")
JSON_KEYS: Final = ("target_class", "target_index", "base_class", "base_indices")


@dataclass(frozen=True)
class Entry:
    """One trial as its file states it: labels, an index into test, indices into train."""

    target_class: int
    target_index: int
    base_class: int
    base_indices: tuple[int, ...]


@dataclass(frozen=True)
class SetupFile:
    """A setup file: its name and the sha256 of its bytes, for the manifest, and its trials in order."""

    record: FileSetup
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        return self.record.name

    def plan(self, base: Base, number: int, *, backdoor: bool = False) -> Plan:
        """Trial `number` (0-based) of the file; of a `backdoor` the target's class is the trial's source class.

        Raises UsageError where there is no such trial, or the file is for another base: an index is out of range or an
        image's label is not the file's.
        """
        if not 0 <= number < len(self.entries):
            raise UsageError(f"trial {number} is outside 0-{len(self.entries) - 1}")
        entry = self.entries[number]
        if entry.base_class == entry.target_class:
            raise UsageError(f"trial {number}: target and bases are of one class, {entry.base_class}")
        _check_label(base, "test", entry.target_index, entry.target_class, number)
        for index in entry.base_indices:
            _check_label(base, "train", index, entry.base_class, number)
        target = SplitTarget(split="test", index=entry.target_index, label=entry.target_class)
        sources = (entry.target_class,) if backdoor else ()
        return Plan(number, (target,), entry.base_class, entry.base_indices, source_classes=sources)


def read_setup(path: Path) -> SetupFile:
    """The trials of a setup file, a published pickle or JSON.

    The JSON is `{"format": "poisonset-setups/1", "trials": [{"target_index": 3, "target_class": 0, "base_class": 5,
    "base_indices": [1, 2]}]}`.

    Raises:
        MissingError: there is no such file.
        DamagedError: the file is neither, is too large, or a trial in it is malformed.
    """
    data = store.read_file(path, limits.SETUP_BYTES, follow=True)
    # The file's name goes into the manifest, which holds no undecodable bytes.
    name = os.fsencode(path.name).decode("utf-8", "replace")
    parse, keys = (_trials_of_json, JSON_KEYS) if data.lstrip()[:1] == b"{" else (_trials_of_pickle, PICKLE_KEYS)
    trials = parse(data, name)
    if not 1 <= len(trials) <= limits.TRIALS:
        raise DamagedError(f"{name}: {len(trials)} trials; 1 to {limits.TRIALS} can be read")
    return SetupFile(FileSetup(name=name, digest=hashlib.sha256(data).hexdigest()), _entries(trials, keys, name))


def _entries(trials: list[Any], keys: tuple[str, ...], name: str) -> tuple[Entry, ...]:
    """Every trial; as a small pickle may name one large array many times, their sum is bounded too."""
    entries: list[Entry] = []
    room = limits.SETUP_BASES
    for number, trial in enumerate(trials):
        entries.append(_entry(trial, keys, f"{name}: trial {number}", room))
        room -= len(entries[-1].base_indices)
    return tuple(entries)


def _trials_of_pickle(data: bytes, name: str) -> list[Any]:
    value = interpreter.load(data, name)
    if type(value) is not list:
        raise DamagedError(f"{name}: a {type(value).__name__} where a list of trials was expected")
    return value


def _trials_of_json(data: bytes, name: str) -> list[Any]:
    document = canonical_json.parse(data, name)
    if type(document) is not dict or document.get("format") != FORMAT:
        raise DamagedError(f'{name}: not a setup file: no field "format" with the value {FORMAT}')
    if set(document) != {"format", "trials"} or type(document["trials"]) is not list:
        raise DamagedError(f"{name}: a setup file has the fields format and trials (a list) and no others")
    return document["trials"]


def _entry(trial: Any, keys: tuple[str, ...], where: str, room: int) -> Entry:
    if type(trial) is not dict or set(map(_text, trial)) != set(keys):
        raise DamagedError(f"{where}: not a trial with exactly the keys {', '.join(keys)}")
    fields = {_text(key): value for key, value in trial.items()}
    target_class, target_index, base_class, bases = (fields[key] for key in keys)
    array = isinstance(bases, np.ndarray)
    if not (bases.ndim == 1 if array else type(bases) in (list, tuple)):
        raise DamagedError(f"{where}: the base indices are not a list of integers")
    if not 1 <= len(bases) <= limits.SLOTS_PER_TRIAL:
        raise DamagedError(f"{where}: {len(bases)} base indices, wanted 1 to {limits.SLOTS_PER_TRIAL}")
    if len(bases) > room:
        raise DamagedError(f"{where}: more than {limits.SETUP_BASES} base indices up to here")
    bases = bases.tolist() if array else bases
    for value in (target_class, target_index, base_class, *bases):
        if type(value) is not int or not 0 <= value <= 2**53:
            raise DamagedError(f"{where}: a class or index that is not an integer from 0 to 2**53")
    return Entry(target_class, target_index, base_class, tuple(bases))


def _text(key: Any) -> Any:
    return key.decode("latin1") if type(key) is bytes else key


def _check_label(base: Base, split: str, index: int, label: int, number: int) -> None:
    labels = base.split(split).labels
    if index >= len(labels):
        fault = f"{split} image {index} is outside 0-{len(labels) - 1} of base {base.name}"
    elif int(labels[index]) != label:
        fault = f"{split} image {index} of base {base.name} has label {int(labels[index])}, the setup says {label}"
    else:
        return
    remedy = "The setup does not fit this base: use the base it was made for, in its original order"
    raise UsageError(f"trial {number}: {fault}", remedy)
