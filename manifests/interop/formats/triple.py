"""`triple`: the published benchmark's three pickles per trial, which five projects read and two write.

Schwarzschild et al. (2021): `poisons.pickle` (a list of image and label), `base_indices.pickle`, `target.pickle` (image
and label, for a backdoor also patch and position). Sleeper Agent writes `source.pickle` instead of the last.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.manifests.files.pickles import writer
from poisonsets.manifests.files.pickles.images import image, integer, integers, read_pickle
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.interop.export_targets import exported_targets
from poisonsets.manifests.interop.format import ForeignTarget, ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import stack_images
from poisonsets.manifests.overlay.stamp import Trigger, place
from poisonsets.manifests.overlay.targets import TargetImage
from poisonsets.manifests.records.triggers import FixedPlace, PatchTrigger
from poisonsets.manifests.sets.reader import OpenTrial
from poisonsets.manifests.verification.findings import Finding

POISONS: Final = "poisons.pickle"
BASES: Final = "base_indices.pickle"
TARGET: Final = "target.pickle"
SOURCE: Final = "source.pickle"
NORMS: Final = "perturbation_norms.pickle"
SMALL_BYTES: Final = 16 << 20
PICTURE: Final = "triggers/patch.png"


def sniff_triple(path: Path) -> bool:
    """Whether it is a folder with `poisons.pickle`."""
    return (path / POISONS).is_file()


def read_triple(path: Path, _base: Base) -> ForeignTrial:
    """The trial in a folder.

    Raises:
        MissingError: one of the three files is missing.
        DamagedError: one of them cannot be read, or holds something else.
    """
    pixels, labels = _poisons(path / POISONS)
    bases = tuple(integers(read_pickle(path / BASES, SMALL_BYTES), BASES))
    target, trigger, hints = _target(path)
    return ForeignTrial(
        pixels=pixels,
        labels=labels,
        bases=bases,
        targets=(target,),
        trigger=trigger,
        hints=(*hints, *_norms(path / NORMS, len(labels))),
    )


def _poisons(path: Path) -> tuple[NDArray[Any], tuple[int, ...]]:
    poisons = read_pickle(path)
    if type(poisons) not in (list, tuple) or not 1 <= len(poisons) <= limits.SLOTS_PER_TRIAL:
        raise DamagedError(f"{POISONS}: not a list of poisons")
    images, labels = [], []
    for number, poison in enumerate(poisons):
        where = f"{POISONS}, poison {number}"
        if type(poison) not in (list, tuple) or len(poison) != 2 or not isinstance(poison[0], np.ndarray):
            raise DamagedError(f"{where}: not an image and a label")
        images.append(poison[0])
        labels.append(integer(poison[1], f"{where}, its label"))
    return stack_images(images, path.stat().st_size, POISONS), tuple(labels)


def _target(path: Path) -> tuple[ForeignTarget, Trigger | None, list[Finding]]:
    if (path / TARGET).exists() or not (path / SOURCE).exists():
        name, hints = TARGET, []
    else:
        text = "Sleeper Agent's file names no patch: its one source image is the target, as it is"
        name, hints = SOURCE, [Finding("H703", text, part=SOURCE)]
    value = read_pickle(path / name, SMALL_BYTES)
    if isinstance(value, np.ndarray):
        bare = Finding("H703", "a bare image without a label", part=name)
        return ForeignTarget(image(value, name)), None, [*hints, bare]
    if type(value) not in (list, tuple) or len(value) not in (2, 4):
        raise DamagedError(f"{name}: not an image and a label, nor image, label, patch and place")
    target = ForeignTarget(image(value[0], name), integer(value[1], f"{name}, its label"))
    if len(value) == 2:
        return target, None, hints
    position = integers(value[3], f"{name}, its place")
    if len(position) != 2:
        raise DamagedError(f"{name}, its place: {len(position)} numbers, column and row were expected")
    column, row = position
    if min(column, row) < 0 or max(column, row) > limits.IMAGE_SIDE:
        raise DamagedError(f"{name}: a patch at column {column}, row {row}")
    patch, more = _patch(value[2], f"{name}, its patch")
    record = PatchTrigger(image=PICTURE, place=FixedPlace(row=row, column=column))
    return target, Trigger(record, patch), [*hints, *more]


def _patch(value: Any, where: str) -> tuple[Images, list[Finding]]:
    """A patch [3, s, s] of values 0..1 as the benchmark's evaluator shows it: truncated to whole levels."""
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.shape[0] != 3 or not value.size:
        raise DamagedError(f"{where}: not an array [3, s, s]")
    if max(value.shape) > limits.IMAGE_SIDE or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise DamagedError(f"{where}: {value.dtype} {list(value.shape)}, wanted finite numbers")
    low, high = float(value.min()), float(value.max())
    if low < 0 or high > 1:
        raise DamagedError(f"{where}: values from {low:.4g} to {high:.4g}, wanted 0 to 1")
    levels = np.floor(value.astype(np.float32) * np.float32(255)).astype(np.uint8)
    loss = [Finding("H704", "patch values between two levels are cut, as the benchmark's evaluator does")]
    inexact = np.abs(levels / 255 - value.astype(np.float64)).max() > 1e-6
    return levels.transpose(1, 2, 0), loss if inexact else []


def _norms(path: Path, count: int) -> list[Finding]:
    """Some crafting scripts leave norms behind; nothing depends on them, so only their number is checked."""
    if not path.exists():
        return []
    try:
        norms = read_pickle(path, SMALL_BYTES)
    except (DamagedError, MissingError):
        return [Finding("H705", "cannot be read; nothing depends on it", part=NORMS)]
    found = len(norms) if type(norms) in (list, tuple, np.ndarray) else 0
    return [] if found == count else [Finding("H705", f"{found} values for {count} poisons", part=NORMS)]


def write_triple(trial: OpenTrial, base: Base) -> Iterator[tuple[str, bytes]]:
    """The three pickles, with the first target only.

    A patch without a mask is stored beside the target, with its position there; any other trigger is stamped on it.

    Raises:
        UsageError: a base is unknown, or there is no target.
    """
    images, labels = trial.poisons()
    targets = exported_targets(trial, base)
    if not targets:
        raise UsageError(f"trial {trial.number}: it has source classes and no target, which a triple must have")
    known = [index for index in trial.record.slots.bases if index is not None]
    if len(known) != len(labels):
        message = f"trial {trial.number}: a poison of an unknown base, which a triple cannot say"
        raise UsageError(message, "Export to hdf5")
    yield POISONS, writer.dumps([(one, int(label)) for one, label in zip(images, labels, strict=True)])
    yield BASES, writer.dumps(np.array(known, dtype=np.int64))
    yield TARGET, writer.dumps(_written_target(targets[0], trial.trigger()))


def _written_target(target: TargetImage, trigger: Trigger | None) -> tuple[Any, ...]:
    if trigger is None or not isinstance(trigger.record, PatchTrigger) or trigger.mask is not None:
        return target.stamped, target.label
    row, column = place(trigger, target.plain.shape[0], target.plain.shape[1], target.record.image_id)
    if trigger.image is None:
        raise DamagedError("a patch without a picture")
    # float32 [3, h, w] in 0..1, which truncates to the same levels
    patch = np.ascontiguousarray((trigger.image.astype(np.float32) / np.float32(255)).transpose(2, 0, 1))
    return target.plain, target.label, patch, [column, row]


SUMMARY: Final = (
    "poisons.pickle, base_indices.pickle, target.pickle (or source.pickle) per trial: the published benchmark"
)
CARRIES: Final = frozenset({"bases", "target", "patch"})
FORMAT: Final = Format("triple", SUMMARY, sniff_triple, read_triple, write_triple, CARRIES)
