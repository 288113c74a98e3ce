"""The split that a name tells: `train-0.tar`, `Training`, `flowers_validation_3`, `valSet`."""

import re
from typing import Final, Literal, TypeAlias

SplitWord: TypeAlias = Literal["train", "test", "val"]

WORDS: Final[dict[str, SplitWord]] = {
    **dict.fromkeys(("train", "training", "trainval", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"), "val"),
}
FILLERS: Final = frozenset(
    (
        *("set", "sets", "data", "dataset", "split", "splits", "image", "images", "img", "imgs", "picture", "pictures"),
        *("photo", "photos", "sample", "samples", "file", "files", "unlabeled", "unlabelled", "labeled", "labelled"),
    )
)
_FUSED: Final = re.compile(f"({'|'.join(WORDS)})({'|'.join(FILLERS)})")
_RUN: Final = re.compile(r"[^\W\d_]+")
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def split_of(name: str) -> SplitWord | None:
    """The split that a word of a name tells, in any case, anywhere in it; None where none or several are told."""
    found = {WORDS[word] for word in _words(name) if word in WORDS}
    return next(iter(found)) if len(found) == 1 else None


def is_plain(name: str) -> bool:
    """Whether a name tells a split and nothing else: `test1` and `val_images`, but not `test_tube`."""
    words = _words(name)
    return split_of(name) is not None and all(word in WORDS or word in FILLERS for word in words)


def _words(name: str) -> list[str]:
    found: list[str] = []
    for run in _RUN.findall(name):
        fused = _FUSED.fullmatch(run.casefold())
        parts = [run] if run.isupper() or run.islower() else _CAMEL.findall(run)
        found += fused.groups() if fused else map(str.casefold, parts)
    return found
