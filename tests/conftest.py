"""What every test may count on: one torch thread, a cache of its own, and small poison sets to read and to break."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.victims.networks.weights import Weights


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def rare_collections() -> None:
    """Torch and the model of a manifest are half a million objects, which each full collection would walk."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for one test process; of several, one makes what they all begin with: `digits` and its network."""
    own = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = tmp_path_factory.getbasetemp().parent / "common-cache"
        with common.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _extractor_of_digits(common)
        shutil.copytree(common, own, dirs_exist_ok=True)
    return own


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image packs."""
    folder = os.environ.get("POISONSETS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("POISONSETS_DATA names no folder of real image packs")
    return Path(folder)


@pytest.fixture(scope="session")
def digits(cache: Path) -> Base:
    """The embedded base of handwritten digits."""
    from poisonsets.manifests.bases.cache import open_base

    return open_base("digits", cache=cache)


@pytest.fixture(scope="session")
def extractor_of_digits(cache: Path) -> Weights:
    """The default network of `digits`, trained once."""
    return _extractor_of_digits(cache)


def _extractor_of_digits(cache: Path) -> Weights:
    import torch

    from poisonsets.manifests.bases.cache import open_base
    from poisonsets.victims.training.pretrain import cached_weights
    from poisonsets.victims.training.pretraining import default_pretraining

    base = open_base("digits", cache=cache)
    pretraining = default_pretraining(base, "features")
    assert pretraining is not None
    return cached_weights(pretraining, base, cache, device=torch.device("cpu"))
