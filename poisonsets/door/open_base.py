"""`poisonsets.open_base`: a base dataset from the command line's cache."""

from poisonsets.door.bases import named_base
from poisonsets.door.errors import speaks_python
from poisonsets.manifests.bases.dataset import Base


@speaks_python
def open_base(name: str) -> Base:
    """Open a base dataset of the cache; `digits` is built on first use.

    Args:
        name: as `poisonsets base list` shows it.

    Returns:
        its splits `train` and `test`, each images uint8 [N, H, W, 3] and labels int64 [N].

    Raises:
        UsageError: there is no such base, or several.
        MissingError: it was not added; the remedy is the command that adds it.
        DamagedError: the cached file is not what was written.
    """
    return named_base(name)
