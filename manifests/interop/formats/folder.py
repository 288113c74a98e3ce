"""`folder`: PNG files by class, as Witches' Brew exports them (`limited`: the poisons; `full`: all training images).

`train/CLASS/ID.png` (or `CLASS/ID.png`), ID an index into the base's training split, and `targets/CLASS/ID.png` with
the adversarial class and an index into the test split. A second poison of one base is `ID-SLOT.png`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import png, store
from poisonsets.manifests.files.junk import is_junk
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.interop.export_targets import exported_targets, shown_index
from poisonsets.manifests.interop.format import PLAIN_FIELDS, ForeignTarget, ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import NO_IMAGES, read_png, unlinked
from poisonsets.manifests.sets.reader import OpenTrial
from poisonsets.manifests.spelling import nearest
from poisonsets.manifests.verification.findings import Finding

TRAIN: Final = "train"
TARGETS: Final = "targets"
_POISON: Final = re.compile(r"(x|[0-9]{1,9})(?:-([0-9]{1,9}))?\.png", re.IGNORECASE)
_TARGET: Final = re.compile(r"([0-9]{1,9})\.png|own-([0-9]{1,9})-of-class-([0-9]{1,6})\.png", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _+=@-]{0,99}")


def sniff_folder(path: Path) -> bool:
    """Whether it is a folder with `train/` and `targets/`; any other could be just a folder of images."""
    return (path / TRAIN).is_dir() and (path / TARGETS).is_dir()


def read_folder(path: Path, base: Base) -> ForeignTrial:
    """The trial in a folder; if it holds over half of the training split, the images unlike the base's are the poisons.

    Raises:
        MissingError: the folder cannot be read.
        DamagedError: an unknown class, a file that is no PNG named by an id, an image of another size than the base's,
            or a link.
    """
    root = path / TRAIN if unlinked(path / TRAIN).is_dir() else path
    skip = (TARGETS, "test") if root == path else ()
    files = sorted(_files(root, base, _POISON, skip=skip), key=_order)
    whole = 2 * len(files) > len(base.train.labels)
    images: list[Images] = []
    labels: list[int] = []
    bases: list[int | None] = []
    for file, label, match in files:
        index = None if match[1].lower() == "x" else int(match[1])
        image = read_png(file, base)
        if not whole or index is None or not _own(base, index, label, image):
            images.append(image)
            labels.append(label)
            bases.append(index)
    targets, adversarial = _targets(path / TARGETS, base)
    text = f"{len(files)} images, of which {len(images)} are not the base's own: they are taken as the poisons"
    return ForeignTrial(
        pixels=np.stack(images) if images else NO_IMAGES,
        labels=tuple(labels),
        bases=tuple(bases),
        targets=targets,
        adversarial_label=adversarial,
        hints=(Finding("H702", text),) if whole else (),
    )


def _own(base: Base, index: int, label: int, image: Images) -> bool:
    """Whether it is the base's training image under its own label."""
    known = index < len(base.train.labels) and int(base.train.labels[index]) == label
    return known and np.array_equal(base.train.images[index], image)


def _order(file: tuple[Path, int, re.Match[str]]) -> tuple[int, int]:
    """Sort key: the slot if the name has one, then the id."""
    match = file[2]
    return int(match[2] or -1), -1 if match[1].lower() == "x" else int(match[1])


def _files(
    root: Path, base: Base, pattern: re.Pattern[str], *, skip: tuple[str, ...] = ()
) -> Iterator[tuple[Path, int, re.Match[str]]]:
    """Each file with its class and its parsed name, sorted by folder and file name."""
    count = 0
    with store.refusals(root):
        made = sorted(one for one in root.iterdir() if one.name not in skip and not is_junk(one.name))
        folders = [one for one in made if unlinked(one).is_dir()]
        # Pictures of no class are no poisons of any trial; what else lies there is no image.
        loose = next((one for one in made if one not in folders and pattern.fullmatch(one.name)), None)
        if loose is not None:
            raise DamagedError(f"{loose.name}: in no folder of a class", "Move it into the folder of its class")
        for folder in folders:
            files = sorted(one for one in folder.iterdir() if not is_junk(one.name))
            label = _label(folder.name, base) if files else 0
            for file in files:
                match = pattern.fullmatch(file.name)
                count += 1
                if match is None or count > limits.SLOTS_PER_TRIAL:
                    raise DamagedError(f"{folder.name}/{file.name}: not a PNG file named by an id, or one too many")
                yield file, label, match


def _label(name: str, base: Base) -> int:
    found = [label for label, known in enumerate(base.classes) if known == name]
    if len(found) == 1:
        return found[0]
    if re.fullmatch(r"0|[1-9][0-9]{0,5}", name) and int(name) < len(base.classes) and not found:
        return int(name)
    near = nearest(name, base.classes)
    remedy = f"Did you mean {near}?" if near else ""
    raise DamagedError(f"the folder {name[:60]} is no one class of {base.name}", remedy)


def _targets(folder: Path, base: Base) -> tuple[tuple[ForeignTarget, ...], int | None]:
    """The targets and their adversarial label."""
    if not unlinked(folder).is_dir():
        return (), None
    targets, wanted = [], set()
    for file, label, match in _files(folder, base, _TARGET):
        index, true = (None if part is None else int(part) for part in (match[1], match[3]))
        targets.append(ForeignTarget(read_png(file, base), true, index))
        wanted.add(label)
    if len(wanted) > 1:
        raise DamagedError(f"{TARGETS}: targets of {len(wanted)} adversarial classes; a trial has one")
    return tuple(targets), min(wanted, default=None)


def write_folder(trial: OpenTrial, base: Base) -> Iterator[tuple[str, bytes]]:
    """The poisons and the stamped targets of a trial."""
    images, labels = trial.poisons()
    bases = trial.record.slots.bases
    known = [index for index in bases if index is not None]
    in_order = list(bases) == sorted(set(known))  # each base once, ascending: the ids alone give the slots
    for slot, (image, label, index) in enumerate(zip(images, labels, bases, strict=True)):
        name = "x" if index is None else str(index)
        yield f"{TRAIN}/{_folder(base, int(label))}/{name if in_order else f'{name}-{slot}'}.png", png.encode(image)
    wanted = _folder(base, trial.record.adversarial_label)
    for place, target in enumerate(exported_targets(trial, base)):
        index = shown_index(target)
        name = f"own-{place}-of-class-{target.label}" if index is None else str(index)
        yield f"{TARGETS}/{wanted}/{name}.png", png.encode(target.stamped)


def _folder(base: Base, label: int) -> str:
    """The class's name if it is unique and safe as a folder name, else its number."""
    name = base.classes[label]
    plain = _PLAIN.fullmatch(name) and base.classes.count(name) == 1 and not name.isdigit()
    return name if plain else str(label)


SUMMARY: Final = "train/CLASS/ID.png and targets/CLASS/ID.png: Witches' Brew limited and full; or CLASS/ID.png"
FORMAT: Final = Format("folder", SUMMARY, sniff_folder, read_folder, write_folder, PLAIN_FIELDS)
