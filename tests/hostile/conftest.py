"""Nothing here has to survive a power cut, so nothing waits for the disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faulty import HastyDisk, on


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    with on(HastyDisk()):
        yield
