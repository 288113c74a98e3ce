"""Files read whole, never more than a stated number of bytes, and never a pipe or device that would block."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from poisonsets.manifests.errors import DamagedError, MissingError


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: the file; links to it are followed, for datasets are often linked.
        limit: the most bytes it may have.

    Raises:
        MissingError: it does not exist or may not be read.
        DamagedError: it is no regular file, or larger than `limit`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise MissingError(f"{path}: cannot be opened ({reason(error)})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedError(f"{path}: not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({reason(error)})") from error
    if len(data) > limit:
        raise DamagedError(f"{path}: larger than {limit} bytes")
    return data


def reason(error: BaseException) -> str:
    """What the system said, in a few words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:120]
