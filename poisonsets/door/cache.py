"""Where bases, default networks and features are kept: POISONSETS_CACHE, or poisonsets in the user's cache folder."""

import os
from pathlib import Path

from poisonsets.manifests.errors import MissingError

ELSEWHERE = "Name a folder that can be written: `export POISONSETS_CACHE=FOLDER`"


def cache_folder() -> Path:
    """The cache folder; it need not be there.

    Raises:
        MissingError: nobody named it, and the user has no home.
    """
    if named := os.environ.get("POISONSETS_CACHE"):
        return Path(named)
    try:
        root = os.environ.get("XDG_CACHE_HOME")
        return (Path(root) if root else Path.home() / ".cache") / "poisonsets"
    except RuntimeError as error:
        raise MissingError("there is no home folder to keep a cache in", ELSEWHERE) from error
