"""Which folders of a user's dataset hold which split: by the names there, or by the user's globs."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisonsets.manifests.bases.folder_entries import class_folders, entries, images_below
from poisonsets.manifests.bases.inventory import Tally
from poisonsets.manifests.bases.kind import Source
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.files.split_names import SplitWord, is_plain, split_of


@dataclass(frozen=True)
class FolderLayout:
    """The folders of each split, which hold class folders; `test` is empty where there is none."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]

    def origins(self, source: Path) -> dict[str, str]:
        """The folders in words, by split."""
        shown = {"train": self.train, "test": self.test}
        return {
            split: ", ".join("class folders" if one == source else f"{one.relative_to(source)}/" for one in folders)
            for split, folders in shown.items()
        }


def folder_layout(source: Source, tally: Tally | None = None) -> FolderLayout:
    """The splits of a folder; what looks like one and is not taken is counted, with the option that takes it.

    Raises:
        MissingError: a folder cannot be read, or a glob matches none.
        UsageError: several folders could be one split, or a folder could be a split as well as a class.
    """
    tally = tally or Tally()
    root, names = source.path, entries(source.path).folders
    told = {name: word for name in names if (word := split_of(name)) is not None}
    labelled = {name: word for name, word in told.items() if class_folders(root / name)}
    if source.train or source.test:
        return _by_globs(source, labelled, tally)
    if "train" not in labelled.values():
        _refuse_doubtful(root, names, told, labelled)
        return FolderLayout((root,), ())
    train = _only(root, labelled, "train")
    test_word: SplitWord = "test" if "test" in labelled.values() else "val"
    test = _only(root, labelled, test_word) if test_word in labelled.values() else ()
    _count_others(root, names, told, labelled, (*train, *test), tally)
    return FolderLayout(train, test)


def _by_globs(source: Source, labelled: dict[str, SplitWord], tally: Tally) -> FolderLayout:
    root = source.path
    train, test = _matched(root, source.train), _matched(root, source.test)
    free = {name: word for name, word in labelled.items() if root / name not in (*train, *test)}
    if not train:
        train = _only(root, free, "train") if "train" in free.values() else (root,)
    if not source.test and train != (root,):
        word: SplitWord = "test" if "test" in free.values() else "val"
        test = _only(root, free, word) if word in free.values() else ()
    if both := sorted({*train} & {*test}):
        raise UsageError(f"{both[0]}: matched by --train and --test", "Give globs that have nothing in common")
    names = () if root in train else entries(root).folders
    told = {name: one for name in names if (one := split_of(name)) is not None}
    _count_others(root, names, told, labelled, (*train, *test), tally)
    return FolderLayout(train, test)


def as_glob(name: str) -> str:
    """A name as it is typed for `--train` and `--test`."""
    return shlex.quote(re.sub(r"[,@=|\\[\\]*]", "?", name))


def _matched(root: Path, globs: Sequence[str]) -> tuple[Path, ...]:
    found: list[Path] = []
    for glob in globs:
        some = [root] if glob in (".", "./") else sorted(one for one in root.glob(glob) if one.is_dir())
        if not some:
            raise MissingError(f"{root}: no folder matches {glob}", "Check the glob; it is relative to the source")
        found += [one for one in some if one not in found]
    return tuple(found)


def _only(root: Path, labelled: dict[str, SplitWord], word: SplitWord) -> tuple[Path, ...]:
    """The one folder of a split."""
    found = [name for name, one in labelled.items() if one == word]
    if len(found) > 1:
        option = "train" if word == "train" else "test"
        one, several = (" ".join(f"--{option} {as_glob(name)}" for name in some) for some in (found[:1], found))
        message = f"{root}: {' and '.join(found)} could each be the {option} split"
        raise UsageError(message, f"Give {one} for one of them, or {several} for all")
    return (root / found[0],)


def _refuse_doubtful(
    root: Path, names: Iterable[str], told: dict[str, SplitWord], labelled: dict[str, SplitWord]
) -> None:
    """Refuse to read splits as classes where no training split was recognised."""
    if labelled:
        name = next(iter(labelled))
        message = f"{root}: {name}/ holds class folders like a {labelled[name]} split, but no training split is there"
        raise UsageError(
            message, f"Give --train GLOB and --test {as_glob(name)}, or --train . where its folders are classes"
        )
    # A class may be called train; beside classes, a folder called test is most likely a split without labels.
    plain = [name for name in told if is_plain(name)]
    if plain and (set(plain) == set(names) or any(told[name] != "train" for name in plain)):
        shown = " and ".join(f"{name}/" for name in plain)
        message = f"{root}: {shown} without class folders: a split without labels, or a class of that name?"
        raise UsageError(message, "Give --train . if it is a class; else move it out, or sort its images into classes")


def _count_others(
    root: Path,
    names: Iterable[str],
    told: dict[str, SplitWord],
    labelled: dict[str, SplitWord],
    taken: Sequence[Path],
    tally: Tally,
) -> None:
    for name in names:
        folder = root / name
        if folder in taken or any(folder in one.parents for one in taken) or not (count := images_below(folder)):
            continue
        if name in labelled:
            more = " ".join(f"--train {as_glob(one.name)}" for one in (taken[0], folder))
            remedy = f"--test {as_glob(name)} takes them as the test split, {more} as part of the training split"
            tally.add("images of a further split", f"{name}/", remedy=remedy, count=count)
        elif name in told:
            tally.add("images of a split without class folders, so without labels", f"{name}/", count=count)
        else:
            tally.add("images beside the splits", f"{name}/", remedy=f"--train {as_glob(name)} takes them", count=count)
