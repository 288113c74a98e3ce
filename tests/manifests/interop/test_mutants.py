"""Any damage to a foreign set ends in a set, in findings, or in an error of ours; nothing else escapes or stays."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from triples import Import

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import PoisonsetsError
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.exporting.export_set import export_set
from poisonsets.manifests.sets.reader import open_set

WRITTEN = [name for name, one in formats.formats().items() if one.write is not None]
MUTANTS = 25


def mutated(path: Path, rng: np.random.Generator) -> None:
    """One file flipped, cut, lengthened, emptied, doubled in part, or gone."""
    data = bytearray(path.read_bytes())
    at = int(rng.integers(len(data))) if data else 0
    match int(rng.integers(6)):
        case 0 | 1:
            for place in rng.integers(len(data), size=int(rng.integers(1, 4))):
                data[place] = int(rng.integers(256))
        case 2:
            data = data[:at]
        case 3:
            data += bytes(rng.integers(0, 256, 100, dtype=np.uint8))
        case 4:
            data[at:at] = data[at : at + 64]
        case _:
            path.unlink()
            return
    path.write_bytes(bytes(data))


def read(source: Path, form: str, importing: Import, left: Path) -> None:
    """Import a mutant; whatever the end, no unfinished set is left."""
    with suppress(PoisonsetsError):
        assert importing(source, form, target=0).worst in (0, 1, 3)
    assert not (left / "set.partial").exists()
    shutil.rmtree(left / "set", ignore_errors=True)


@pytest.mark.parametrize("name", WRITTEN)
def test_mutants_of_what_is_written(tmp_path: Path, base: Base, native: Path, importing: Import, name: str) -> None:
    export_set(tmp_path / "good", open_set(native), base, formats.formats()[name], only=(0,))
    for number in range(MUTANTS):
        rng = np.random.default_rng(number)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        files = sorted(path for path in (tmp_path / "bad" / "0").rglob("*") if path.is_file())
        mutated(files[int(rng.integers(len(files)))], rng)
        read(tmp_path / "bad", name, importing, tmp_path)
        shutil.rmtree(tmp_path / "bad")


@pytest.mark.parametrize("kind", ["zip", "legacy", "npz", "npy"])
def test_mutants_of_what_is_only_read(tmp_path: Path, importing: Import, kind: str) -> None:
    values, ids = np.random.default_rng(0).integers(-8, 9, (4, 8, 8, 3)).astype(np.float32), np.arange(4)
    path = tmp_path / {"zip": "p.pth", "legacy": "p.pth", "npz": "p.npz", "npy": "p.npy"}[kind]
    if path.suffix == ".pth":
        tensors = [torch.from_numpy(values).permute(0, 3, 1, 2), torch.from_numpy(ids)]
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    elif kind == "npz":
        np.savez_compressed(path, delta=values, ids=ids)
    else:
        np.save(path, values)
    good = path.read_bytes()
    for number in range(MUTANTS):
        path.write_bytes(good)
        mutated(path, np.random.default_rng(number))
        read(path, "packed" if path.suffix == ".pth" else "perturbation", importing, tmp_path)
