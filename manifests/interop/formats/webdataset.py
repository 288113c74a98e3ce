"""`webdataset`: the poisons as plain WebDataset shards `poisons-*.tar`, and their targets in `targets.json`.

A sample is `.cls` and `.png`, keyed `SLOT-ID` or `ID` by the base's index (`x`: unknown). `score` takes the same
targets file for whole training sets, which `export --full` writes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import png
from poisonsets.manifests.files.junk import is_junk
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.files.tar_reader import Shard
from poisonsets.manifests.files.tar_writer import shard
from poisonsets.manifests.interop.export_targets import exported_targets
from poisonsets.manifests.interop.format import ForeignTarget, ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import EIGHT_BIT_RGB, decode_sized
from poisonsets.manifests.sets.reader import OpenTrial
from poisonsets.manifests.training_sets.targets_file import FORMAT as TARGETS_FORMAT
from poisonsets.manifests.training_sets.targets_file import read_targets

SHARDS: Final = "poisons-*.tar"
TARGETS: Final = "targets.json"
_KEY: Final = re.compile(r"(?:.*[-_/])?(?:([0-9]{1,9})|x)")


def sniff_webdataset(path: Path) -> bool:
    """Whether it is a folder with shards of this name."""
    return path.is_dir() and next(path.glob(SHARDS), None) is not None


def read_webdataset(path: Path, base: Base) -> ForeignTrial:
    """The trial in a folder, or in one `.tar`.

    Raises:
        MissingError: there is no shard, or a file cannot be read.
        DamagedError: a shard, sample or targets file cannot be read, or an image has another size than the base's.
    """
    paths = sorted(one for one in path.glob(SHARDS) if not is_junk(one.name)) if path.is_dir() else [path]
    images: list[Images] = []
    labels: list[int] = []
    bases: list[int | None] = []
    for one in paths:
        if one.is_symlink() and path.is_dir():
            raise DamagedError(f"{one.name}: a link; only regular files are read")
        for key, data, label in Shard(one).samples():
            match = _KEY.fullmatch(key)
            if match is None or data[24:26] != EIGHT_BIT_RGB:
                raise DamagedError(f"{one.name}: sample {key[:60]!a} has no id in its key, or no 8-bit RGB PNG")
            if len(labels) == limits.SLOTS_PER_TRIAL:
                raise DamagedError(f"{one.name}: more than {limits.SLOTS_PER_TRIAL} samples")
            images.append(decode_sized(data, f"{one.name}: {key}", base))
            labels.append(label)
            bases.append(None if match[1] is None else int(match[1]))
    if not images:
        raise DamagedError("no samples")
    trial = ForeignTrial(pixels=np.stack(images), labels=tuple(labels), bases=tuple(bases))
    beside = (path if path.is_dir() else path.parent) / TARGETS
    return _with_targets(trial, beside) if beside.exists() or beside.is_symlink() else trial


def _with_targets(trial: ForeignTrial, path: Path) -> ForeignTrial:
    if path.is_symlink():
        raise DamagedError(f"{path.name}: a link; only regular files are read")
    spec = read_targets(path)
    named = spec.record.targets
    wanted = {one.adversarial_label for one in named} | {spec.record.adversarial_label} - {None}
    if len(wanted) != 1 or any(one.split != "test" for one in named):
        raise DamagedError(f"{path.name}: a trial has one adversarial label, and targets of the test split")
    return replace(
        trial,
        targets=tuple(ForeignTarget(label=one.label, index=one.index) for one in named),
        adversarial_label=next(iter(wanted)),
        trigger=spec.trigger,
        source_classes=spec.record.source_classes,
    )


def write_webdataset(trial: OpenTrial, base: Base) -> Iterator[tuple[str, bytes]]:
    """Shards of 1,000 poisons, and the targets file."""
    images, labels = trial.poisons()
    for number, first in enumerate(range(0, len(images), limits.SLOTS_PER_SHARD)):
        some = range(first, min(first + limits.SLOTS_PER_SHARD, len(images)))
        bases = [trial.record.slots.bases[slot] for slot in some]
        keys = [f"{slot:08d}-{'x' if index is None else index}" for slot, index in zip(some, bases, strict=True)]
        yield f"poisons-{number:06d}.tar", shard(keys, images[some.start : some.stop], labels[some.start : some.stop])
    yield from targets_files(trial, base)


def targets_files(trial: OpenTrial, base: Base) -> Iterator[tuple[str, bytes]]:
    """A trial's targets file for `score --targets`, and the trigger's pictures.

    It names the targets that are test images, else the source classes; without either there is no file.
    """
    record, trigger = trial.record, trial.trigger()
    targets = [
        {"split": "test", "index": one.index, "label": one.label, "adversarial_label": record.adversarial_label}
        for one in exported_targets(trial, base)
        if one.index is not None
    ]
    sources = {"source_classes": list(record.source_classes), "adversarial_label": record.adversarial_label}
    if not targets and not record.source_classes:
        return
    document = {"format": TARGETS_FORMAT, **({"targets": targets} if targets else sources)}
    if trigger is not None:
        document["trigger"] = trigger.record.model_dump(mode="json")
        for path, picture in trigger.pictures().items():
            yield path, png.encode(picture)
    yield TARGETS, (json.dumps(document, indent=1) + "\n").encode()


SUMMARY: Final = "poisons-*.tar with .cls and .png, keys SLOT-ID, and targets.json; with --full the whole training set"
CARRIES: Final = frozenset({"bases", "unknown bases", "targets", "patch", "trigger", "adversarial label"})
FORMAT: Final = Format("webdataset", SUMMARY, sniff_webdataset, read_webdataset, write_webdataset, CARRIES)
