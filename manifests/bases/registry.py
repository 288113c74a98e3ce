"""Every kind of base dataset by name: the files of `kinds/` are the list, nothing is registered elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from poisonsets.manifests.bases.holdout import parse_fraction
from poisonsets.manifests.bases.kind import BaseKind
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.limits import IMAGE_SIDE
from poisonsets.manifests.plugins import by_name, load_plugins

NAME_LENGTH = 200


@cache
def kinds() -> Mapping[str, BaseKind]:
    """All kinds by name, in alphabetical order.

    Raises:
        MissingError, UsageError: as `load_plugins`.
    """
    modules = load_plugins("poisonsets.manifests.bases.kinds")
    return by_name("bases", ((kind.name, module, kind) for module in modules for kind in module.KINDS))


@dataclass(frozen=True)
class Spec:
    """A base as the user names it, with the options that change its pixels or splits.

    Attributes:
        kind: how it is read.
        path: the resolved path of `NAME:PATH`; None for the other kinds.
        holdout: the fraction "a/b", in lowest terms, of the images that becomes the test split, or None.
        split_seed: the seed of that draw.
        resize: the side in pixels every image is resized to; None keeps their size.
    """

    kind: BaseKind
    path: Path | None
    holdout: str | None
    split_seed: int
    resize: int | None

    @property
    def text(self) -> str:
        """The spec as one types it, its path resolved."""
        return self.kind.name if self.path is None else f"{self.kind.name}:{self.path}"

    @property
    def name(self) -> str:
        """The base's name in manifests: of a path its last component, in the characters of `model.Name`."""
        if self.path is None:
            return self.kind.name
        last = re.sub(r"[^A-Za-z0-9._@=+-]", "-", self.path.name)
        return f"{self.kind.name}:{last}"[:NAME_LENGTH]

    @property
    def options(self) -> str:
        """The options as one types them, with a leading space; empty where all are left out."""
        words = [f" --holdout {self.holdout}"] if self.holdout else []
        words += [f" --split-seed {self.split_seed}"] if self.split_seed else []
        words += [f" --resize {self.resize}"] if self.resize else []
        return "".join(words)

    @property
    def add_command(self) -> str:
        """The command line that adds this base to the cache."""
        source = ""
        if self.kind.source == "given":
            source = " --download" if self.kind.download else " --from PATH"
        return f"poisonsets base add {shlex.quote(self.text)}{source}{self.options}"

    @property
    def key(self) -> str:
        """A string that differs where kind, path or options differ."""
        return f"{self.text}{self.options}"


def parse_spec(text: str, *, holdout: str | None = None, split_seed: int = 0, resize: int | None = None) -> Spec:
    """The base that a user's spec and options name; nothing is read from disk.

    Args:
        text: `NAME` or `NAME:PATH`.
        holdout: a fraction "a/b" with 0 < a/b < 1, or None.
        split_seed: at least 0; only with `holdout`.
        resize: 1 to `limits.IMAGE_SIDE`, or None.

    Raises:
        UsageError: no such kind, a path missing or too much, or an option out of range.
    """
    name, colon, path = text.partition(":")
    kind = kinds().get(name)
    if kind is None:
        raise UsageError(
            f"there is no base {name[:80]!r}", f"Known are {', '.join(spelling(k) for k in kinds().values())}"
        )
    if kind.source == "spec" and not path:
        raise UsageError(f"base {name} needs a path", f"Write {spelling(kind)}")
    if kind.source != "spec" and colon:
        advice = f"Write {name}" + (f" and give the folder with --from {path}" if kind.source == "given" else "")
        raise UsageError(f"base {name} takes no path in its name", advice)
    if split_seed < 0 or (split_seed and holdout is None):
        raise UsageError(
            f"split seed {split_seed}: it is at least 0 and goes with a holdout", "Pass --holdout 1/20 too"
        )
    if resize is not None and not 1 <= resize <= IMAGE_SIDE:
        raise UsageError(f"resize {resize} is outside 1-{IMAGE_SIDE} pixels")
    fraction = None if holdout is None else str(parse_fraction(holdout))
    return Spec(kind, _resolved(path) if path else None, fraction, split_seed, resize)


def _resolved(path: str) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a user who is not there, a zero byte
        raise UsageError(f"{path}: no path ({' '.join(str(error).split())[:120]})", "Check its spelling") from error


def spelling(kind: BaseKind) -> str:
    """How a spec of this kind is written, for instance `folder:PATH`."""
    return f"{kind.name}:PATH" if kind.source == "spec" else kind.name
