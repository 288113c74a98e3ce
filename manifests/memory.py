"""What a process that computes does with memory it has freed."""

import ctypes
from typing import Final

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_KEPT: Final = 1 << 30
_LARGEST_UNMAPPED: Final = 32 << 20  # what glibc takes at most


def keep_freed_memory() -> bool:
    """Let this process keep up to a gibibyte that it has freed, where the C library is glibc; else do nothing.

    Every pass through a network frees what the next one asks for again. By default glibc returns larger pieces to the
    kernel, which clears them before it gives them back: a quarter of the demo's time. Results are the same.

    For processes of our own: the command line's and its workers. A host program's allocator is its own affair.

    Returns:
        Whether both thresholds were taken.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        return False
    return bool(mallopt(_TRIM, _KEPT)) and bool(mallopt(_MAP, _LARGEST_UNMAPPED))
