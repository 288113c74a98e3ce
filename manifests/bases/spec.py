"""A base as users name it, with the options that change its pixels or splits: `folder:PATH@holdout=1/5,resize=32`."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from poisonsets.manifests.bases.kind import BaseKind
from poisonsets.manifests.bases.registry import kinds
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.limits import IMAGE_SIDE
from poisonsets.manifests.spelling import parse_pairs, parse_share, unknown

NAME_LENGTH = 200
LARGEST_SEED = 2**53
BETWEEN = "|"  # two globs of one split


@dataclass(frozen=True)
class Spec:
    """A base as the user names it.

    Attributes:
        kind: how it is read.
        path: the resolved path of its source; None for embedded kinds, or where it was not given.
        holdout: the share of the images that becomes the test split, or None.
        split_seed: the seed of that draw.
        resize: the side in pixels that every image is resized to; None keeps their size.
        train, test: globs for what belongs to a split, relative to the path.
    """

    kind: BaseKind
    path: Path | None = None
    holdout: Fraction | None = None
    split_seed: int = 0
    resize: int | None = None
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The spec as it is typed, with its path resolved; equal only where kind, path and options are."""
        place = f"{self.kind.name}:{self.path}" if self.kind.source == "spec" else self.kind.name
        globs = {"test": BETWEEN.join(self.test), "train": BETWEEN.join(self.train)}
        values = {"holdout": self.holdout, "resize": self.resize, "split-seed": self.split_seed, **globs}
        options = ",".join(f"{key}={value}" for key, value in values.items() if value)
        # After a path with an @ even an empty list of options is written, so that the last @ never is the path's.
        return f"{place}@{options}" if options or "@" in place else place

    @property
    def name(self) -> str:
        """The base's name in manifests; of a path only the last component, in the characters of `fields.Name`."""
        if self.kind.source != "spec" or self.path is None:
            return self.kind.name
        last = re.sub(r"[^A-Za-z0-9._@=+-]", "-", self.path.name)
        return f"{self.kind.name}:{last}"[:NAME_LENGTH]

    @property
    def add_remedy(self) -> str:
        """The remedy where the base is missing: the command that adds it to the cache."""
        source = None if self.kind.source == "spec" else self.path
        other = ", or --from PATH in place of --download" if self.kind.download and source is None else ""
        return f"Type `{add_command(self.text, source)}`{other}"


def add_command(text: str, source: Path | None = None) -> str:
    """The command that adds the base of a spec to the cache, to be pasted.

    Args:
        text: as `Spec.text`.
        source: the files of a `given` kind; None fetches them where that is possible.
    """
    kind = kinds().get(re.split("[:@]", text, maxsplit=1)[0])
    words = ["poisonsets", "base", "add", text]
    if source is not None:
        words += ["--from", str(source)]
    elif kind is not None and kind.source == "given":
        words += ["--download"] if kind.download else ["--from", "PATH"]
    return shlex.join(words)


def split_options(text: str) -> tuple[str, str]:
    """Split a spec at its last @: the kind with its path, and the options, empty where there are none."""
    place, at, options = text.rpartition("@")
    return (place, options) if at else (text, "")


def parse_spec(
    text: str,
    *,
    source: Path | None = None,
    holdout: str | None = None,
    split_seed: int | None = None,
    resize: int | None = None,
    train: Sequence[str] = (),
    test: Sequence[str] = (),
    known: Iterable[str] = (),
) -> Spec:
    """Parse the spec and options of a user; nothing is read from disk.

    Args:
        text: `NAME` or `NAME:PATH`, either with `@key=value,...`: `holdout`, `resize`, `split-seed`, `train`, `test`.
        source: the path, where the spec has none.
        holdout: a share between 0 and 1: "1/5", "0.2" or "20%".
        split_seed: at least 0; only with a holdout.
        resize: 1 to `limits.IMAGE_SIDE`.
        train, test: globs of folders, shards or groups, relative to the source; only of kinds with `globs`.
        known: further names to suggest in place of an unknown one.

    Raises:
        UsageError: no such kind, a path missing or superfluous, or an option unknown, given twice or out of range.
    """
    place, listed = split_options(text)
    name, colon, path = place.partition(":")
    kind = kinds().get(name)
    if kind is None:
        raise unknown("base", place, [*known, *(one.usage for one in kinds().values())])
    globs = {name: BETWEEN.join(value) or None for name, value in (("train", train), ("test", test))}
    flags = {"holdout": holdout, "resize": resize, "split-seed": split_seed, **globs}
    words = [*filter(None, listed.split(",")), *(f"{key}={value}" for key, value in flags.items() if value is not None)]
    try:
        given = parse_pairs(words, f"base {name}")
        for key in given.keys() - flags.keys():
            raise unknown(f"option of base {name}", key, flags)
    except UsageError as error:
        if not listed or kind.source != "spec":
            raise
        command = add_command(name, Path(text.partition(":")[2]))
        raise UsageError(error.message, f"Type `{command}` if the @ is the path's. {error.remedy}") from error
    return Spec(kind, _path(kind, path if colon else None, source), *_numbers(given), *_globs(kind, given))


def _path(kind: BaseKind, path: str | None, source: Path | None) -> Path | None:
    if kind.source == "embedded" and (source is not None or path is not None):
        raise UsageError(f"base {kind.name} takes no path", f"Write {kind.name}")
    if kind.source == "given" and path is not None:
        command = add_command(kind.name, Path(path or "PATH"))
        raise UsageError(f"base {kind.name} takes no path in its name", f"Type `{command}`")
    if kind.source == "spec" and not path and source is None:
        raise UsageError(f"base {kind.name} needs a path", f"Write {kind.usage}")
    if path and source is not None:
        raise UsageError(f"base {kind.name} has two paths, {path} and {source}", "Leave out --from")
    wanted = path or source
    try:
        return Path(wanted).expanduser().resolve() if wanted else None
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a user who is not there, a zero byte
        raise UsageError(f"{wanted}: no path ({' '.join(str(error).split())[:120]})", "Check its spelling") from error


def _globs(kind: BaseKind, given: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The globs of train and of test."""
    found = []
    for name in ("train", "test"):
        globs = tuple(given[name].split(BETWEEN)) if name in given else ()
        if globs and not kind.globs:
            raise UsageError(f"base {kind.name} takes no {name}: its splits have one layout", f"Leave out --{name}")
        for glob in globs:
            if not glob or re.search("[,@=]", glob) or glob.startswith("/") or ".." in glob.split("/"):
                message = f"{name} {glob[:60]!r}: not a glob of what is in the source"
                raise UsageError(message, "Write it relative to the source, with ? in the place of , @ and =")
        found.append(globs)
    if "test" in given and "holdout" in given:
        raise UsageError("a test split and a holdout", "Leave one of the two out")
    return found[0], found[1]


def _numbers(given: Mapping[str, str]) -> tuple[Fraction | None, int, int | None]:
    """Holdout, split seed and side."""
    holdout = parse_share(given["holdout"], "holdout") if "holdout" in given else None
    if holdout in (0, 1):
        raise UsageError(f"holdout {given['holdout']} leaves a split without images", "Write it like 1/20")
    ranges = {"split-seed": (0, LARGEST_SEED), "resize": (1, IMAGE_SIDE)}
    for key, (least, most) in ranges.items():
        text = given.get(key, str(most))
        if not re.fullmatch("[0-9]{1,16}", text) or not least <= int(text) <= most:
            raise UsageError(f"{key} {text[:40]}: not a whole number in {least}..{most}")
    seed = int(given.get("split-seed", 0))
    if seed and holdout is None:
        raise UsageError(f"split-seed {seed}: there is no holdout to draw", "Give holdout=1/20 too")
    return holdout, seed, int(given["resize"]) if "resize" in given else None
