"""`hdf5`: one HDF5 file per trial with the arrays of the format `numpy`, integers only, read as HDF5 bases are.

`poisons`, `labels`, `bases`, `targets`, `target_labels`, `target_indices`, `adversarial_label` at the root.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h5py

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import hdf5, npy
from poisonsets.manifests.interop.format import PLAIN_FIELDS, ForeignTrial, Format
from poisonsets.manifests.interop.image_arrays import begins
from poisonsets.manifests.interop.named_arrays import RANKS, trial_arrays, trial_from_arrays
from poisonsets.manifests.sets.reader import OpenTrial

NAME: Final = "poisons.h5"
MAGIC: Final = b"\x89HDF\r\n\x1a\n"


def sniff_hdf5(path: Path) -> bool:
    """Whether it is an HDF5 file, or a folder with `poisons.h5`."""
    return begins(path / NAME if path.is_dir() else path, MAGIC)


def read_hdf5(path: Path, _base: Base) -> ForeignTrial:
    """The trial in a file, or in `poisons.h5` of a folder.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is a link in the folder, no HDF5 file of a trial, or uses refused storage features.
    """
    file = path / NAME if path.is_dir() else path
    if path.is_dir() and file.is_symlink():
        raise DamagedError(f"{file}: a link; only regular files are read")
    with hdf5.opened(file) as opened:
        found = {
            name: hdf5.read(opened, name, rank=rank, limit=npy.ARRAY_BYTES)
            for name, rank in RANKS.items()
            if hdf5.contains(opened, name)
        }
    return trial_from_arrays(found, NAME)


def write_hdf5(trial: OpenTrial, base: Base) -> Iterator[tuple[str, bytes]]:
    """One file; targets are stamped."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for name, array in trial_arrays(trial, base).items():
            file.create_dataset(name, data=array)
    yield NAME, memory.getvalue()


SUMMARY: Final = "poisons.h5 with poisons, labels, bases, targets, target_labels, target_indices, adversarial_label"
FORMAT: Final = Format("hdf5", SUMMARY, sniff_hdf5, read_hdf5, write_hdf5, PLAIN_FIELDS)
