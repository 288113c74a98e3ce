"""Which tar files of a folder are the shards of which split: by the names of files and folders, or by globs."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poisonsets.manifests.errors import MissingError, UnsupportedError, UsageError
from poisonsets.manifests.files.junk import is_junk
from poisonsets.manifests.files.split_names import SplitWord, split_of

COMPRESSED: Final = {
    **dict.fromkeys((".tar.gz", ".tgz", ".tar.z"), "gunzip -k"),
    **dict.fromkeys((".tar.bz2", ".tbz2", ".tbz"), "bunzip2 -k"),
    **dict.fromkeys((".tar.xz", ".txz", ".tar.lzma"), "unxz -k"),
    ".tar.zst": "unzstd",
    ".tar.lz4": "unlz4",
}
"""What unpacks a compressed shard, by its ending."""
OTHER: Final = (".parquet", ".arrow", ".tfrecord", ".zip", ".rec", ".beton", ".lmdb", ".7z", ".rar")
DEEPEST: Final = 3  # folders below the source in which shards are looked for
PLAIN: Final = ("data", "shards")  # folders that are looked into, though their names tell no split


@dataclass(frozen=True)
class ShardFiles:
    """The shards of each split, in the order of their paths as strings.

    Attributes:
        train, test: the shards that are read; `test` is empty where there are none.
        further: shards of a split beside a test split, such as `val`.
        untold: shards whose names tell no split, beside others whose do.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    further: tuple[Path, ...] = ()
    untold: tuple[Path, ...] = ()


def shard_files(source: Path, train: Sequence[str] = (), test: Sequence[str] = ()) -> ShardFiles:
    """The `.tar` files in a folder and in its folders of splits; where no name tells a split, all are for training.

    Args:
        source: the folder.
        train, test: globs relative to it, in the place of what the names tell.

    Raises:
        MissingError: there are no training shards, or a glob matches none.
        UnsupportedError: shards are compressed.
        UsageError: a path tells two splits, or a file is matched by both globs.
    """
    found = [path for path in _below(source, DEEPEST) if path.name.lower().endswith(".tar")]
    _refuse_compressed(source, found)
    trained, tested = _matched(source, found, train), _matched(source, found, test)
    if both := sorted({*trained} & {*tested}):
        raise UsageError(f"{both[0]}: matched by --train and --test", "Give globs that have nothing in common")
    told = {path: _told(path, source) for path in found if path not in (*trained, *tested)}
    by_word: dict[SplitWord | None, tuple[Path, ...]] = {
        word: tuple(path for path, one in told.items() if one == word) for word in ("train", "test", "val", None)
    }
    word: SplitWord = "test" if by_word["test"] else "val"
    tested = tested or by_word[word]
    rest = [path for path in (*by_word["val"], *by_word["test"]) if path not in tested]
    if not trained:
        trained = by_word["train"] or (() if tested else by_word[None])
    if not trained:
        other = [path.name for path in _below(source, DEEPEST) if path.suffix.lower() in OTHER]
        beside = f", but {len(other)} files like {other[0]}" if other else ""
        message = f"{source}: no training shards (train-*.tar, or *.tar where there is no test-*.tar){beside}"
        raise MissingError(message, "Give --train GLOB" if found else "Check the path")
    unread = [path for path in (*by_word["train"], *by_word[None]) if path not in trained]
    return ShardFiles(trained, tested, tuple(rest), tuple(unread))


def _below(folder: Path, depth: int) -> list[Path]:
    """The files that users made in a folder and in its folders of splits, by their paths as strings."""
    if not folder.is_dir():
        return []
    some = sorted((one for one in folder.iterdir() if not (is_junk(one.name) or one.name.startswith("."))), key=str)
    # Other folders could be other datasets.
    splits = [one for one in some if (split_of(one.name) or one.name in PLAIN) and one.is_dir()]
    below = [path for one in splits if depth for path in _below(one, depth - 1)]
    return sorted([one for one in some if one.is_file()] + below, key=str)


def _told(path: Path, source: Path) -> SplitWord | None:
    """The split that a shard's name tells, else that its folders tell."""
    *folders, name = path.relative_to(source).parts
    words = {word for part in (*folders, name[: -len(".tar")]) if (word := split_of(part)) is not None}
    if len(words) > 1:
        message = f"{path}: its path tells of {' and '.join(sorted(words))}"
        raise UsageError(message, "Give --train GLOB and --test GLOB")
    return next(iter(words), None)


def _matched(source: Path, found: Sequence[Path], globs: Sequence[str]) -> tuple[Path, ...]:
    matched: list[Path] = []
    for glob in globs:
        some = {one for path in source.glob(glob) for one in ([path] if path.is_file() else _below(path, DEEPEST))}
        shards = [path for path in found if path in some]
        if not shards:
            raise MissingError(f"{source}: no shard matches {glob}", "Check the glob; it is relative to the source")
        matched += [path for path in shards if path not in matched]
    return tuple(matched)


def _refuse_compressed(source: Path, found: Sequence[Path]) -> None:
    plain = {path.with_suffix("") for path in found}
    packed = []
    for path in _below(source, DEEPEST):
        ending = next((one for one in COMPRESSED if path.name.lower().endswith(one)), None)
        if ending is not None and path.with_name(path.name[: -len(ending)]) not in plain:
            packed.append((path, COMPRESSED[ending]))
    if packed:
        first, tool = packed[0]
        more = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
        message = f"{first}{more}: compressed shards, which are not read"
        raise UnsupportedError(
            message, f"Unpack them: `{tool} {' '.join(shlex.quote(str(one)) for one, _ in packed[:10])}`"
        )
