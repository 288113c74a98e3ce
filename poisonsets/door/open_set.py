"""`poisonsets.open_set`: a poison set on disk."""

from pathlib import Path

from poisonsets.door.errors import speaks_python
from poisonsets.door.poison_set import PoisonSet
from poisonsets.manifests.sets import reader


@speaks_python
def open_set(path: str | Path) -> PoisonSet:
    """Open a poison set for reading. Whether its claims are true is for `verify` to say.

    Args:
        path: its folder.

    Raises:
        MissingError: there is no such folder.
        DamagedError: its manifest is missing, not valid, or not what was written.
        UnsupportedError: the manifest says something that this version cannot read.
    """
    opened = reader.open_set(path)
    return PoisonSet(opened.path, opened.manifest)
