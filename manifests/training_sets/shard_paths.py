"""The shards that a user names: a folder, one file, or a pattern like `part-{000..009}.tar`; no URLs, no pipes."""

import re
from pathlib import Path
from typing import Final

from poisonsets.manifests import limits
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.files.shard_files import shard_files

_RANGE: Final = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")


def shards_of(named: Path | str) -> tuple[Path, ...]:
    """The files of a training set, in reading order.

    Args:
        named: a folder (the shards of its training split, or all its `*.tar` if no name tells a split, sorted), one
            file, or a path with ranges `{000..009}`, both ends included, padded as the range's first number.

    Raises:
        MissingError: there is no such file or folder, or it holds no training shards.
        UsageError: a range runs backwards, or there are more than `limits.FILES` files.
    """
    path = Path(named).expanduser()
    if path.is_dir():
        return shard_files(path).train
    paths = (path,) if path.exists() else _expanded(str(path))
    for one in paths:
        if not one.is_file():
            remedy = "Name a folder of .tar shards, one .tar, or part-{000..009}.tar"
            raise MissingError(f"{one}: no such file, or no regular one", remedy)
    return paths


def _expanded(text: str) -> tuple[Path, ...]:
    names = [text]
    while (match := _RANGE.search(names[0])) is not None:
        first, last = int(match[1]), int(match[2])
        count = last - first + 1
        if not 0 < count * len(names) <= limits.FILES:
            raise UsageError(f"{text}: {match[0]} runs backwards, or names more than {limits.FILES} files")
        numbers = [f"{number:0{len(match[1])}d}" for number in range(first, last + 1)]
        # Every name has the same ranges left, and this one is the first of each.
        names = [_RANGE.sub(number, name, count=1) for name in names for number in numbers]
    return tuple(map(Path, names))
