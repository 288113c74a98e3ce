"""A small base of random images, and sets of ours on it. Tests read them, and change copies alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from forge import small_base, small_set

from poisonsets.manifests.bases.dataset import Base


@pytest.fixture(scope="session")
def base() -> Base:
    return small_base()


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory, base: Base) -> Path:
    """Two trials of noise, four poisons each."""
    return small_set(tmp_path_factory.mktemp("sets") / "honest", base)


@pytest.fixture(scope="session")
def five(tmp_path_factory: pytest.TempPathFactory, base: Base) -> Path:
    """Five trials of noise, four poisons each."""
    return small_set(tmp_path_factory.mktemp("sets") / "five", base, trials=5)
