"""How a victim came to its verdict, epoch by epoch, in one HDF5 file a job: whole or absent, equal bytes each time.

The file is one of `manifests.arrays`: a dataset `data`, the bits of float32 [epochs, columns], and an attribute
`record`, canonical JSON of a `TrajectoryRecord` with the sha256 of the data. The columns are the poisoned victim's,
then those of its clean control where there is one: for each of `SERIES` one a target, then the cosine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import array_file, canonical_json, hdf5
from poisonsets.manifests.records.fields import Index, Label
from poisonsets.victims.results.job import JobRecord
from poisonsets.victims.trainers.curves import SERIES, Curves, Values, curves_of

_BITS: Final = np.dtype("<u4")
_BYTES: Final = 512 << 20
_REMEDY: Final = "Remove the file and score again with trajectories and --resume"


class TrajectoryRecord(JobRecord):
    """What a trajectory is of: the job of the row beside it, its labels and the shape of its table.

    Attributes:
        labels: the true label of each of the K targets.
        epochs: rows of the table.
        control: whether the clean control's columns follow the victim's.

    Raises:
        ValueError: pydantic's ValidationError where a field is out of range or the job is that of other fields.
    """

    format: Literal["poisonset-trajectory/1"] = "poisonset-trajectory/1"
    labels: tuple[Label, ...]
    adversarial_label: Label
    epochs: Index
    control: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the table."""
        return self.epochs, (1 + self.control) * (len(SERIES) * len(self.labels) + 1)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A job's trajectory: what it is of, the poisoned victim's course and its clean control's, None without one."""

    record: TrajectoryRecord
    poisoned: Curves
    control: Curves | None


def write_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write a trajectory, whole or not at all; folders above are made.

    Args:
        path: the file; another one there is replaced.
        trajectory: its curves are of the shapes its record says.

    Raises:
        MissingError: the folder or the disk refuses it.
        ValueError: the curves are of other shapes.
    """
    tables = [_table(one) for one in (trajectory.poisoned, trajectory.control) if one is not None]
    table = np.concatenate(tables, axis=1)
    if table.shape != trajectory.record.shape:
        raise ValueError(f"curves of {table.shape}, the record says {trajectory.record.shape}")
    bits = np.ascontiguousarray(table, dtype="<f4").view(_BITS)
    array_file.write(path, [bits], trajectory.record.shape, _BITS, trajectory.record.model_dump(mode="json"))


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory in a file, after everything the file claims was checked.

    Nothing in it is followed or executed: links, external and virtual storage are refused.

    Args:
        path: `RESULTS/trajectories/JOB.h5`.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is no trajectory, or was changed since it was written.
    """
    try:
        if path.is_symlink():
            raise DamagedError(f"{path}: a link; only regular files are read")
        with hdf5.opened(path) as file:
            stated = hdf5.read_json(file, "record")
            bits = hdf5.read(file, "data", rank=2, limit=_BYTES)
    except DamagedError as error:
        raise DamagedError(error.message, _REMEDY) from error
    record = _record(stated, hashlib.sha256(bits.data).hexdigest(), path)
    if bits.dtype != _BITS or bits.shape != record.shape:
        raise DamagedError(f"{path}: it holds {bits.dtype} {list(bits.shape)}, wanted {list(record.shape)}", _REMEDY)
    table = bits.view("<f4").astype(np.float32, copy=False)
    poisoned, *control = np.split(table, 1 + record.control, axis=1)
    return Trajectory(record, curves_of(poisoned), curves_of(control[0]) if control else None)


def _table(curves: Curves) -> Values:
    return np.concatenate([*(getattr(curves, name) for name in SERIES), curves.cosine[:, None]], axis=1)


def _record(stated: Any, digest: str, path: Path) -> TrajectoryRecord:
    if not isinstance(stated, dict) or stated.get("sha256") != digest:
        raise DamagedError(f"{path}: its contents are not those that were written", _REMEDY)
    rest = {name: value for name, value in stated.items() if name != "sha256"}
    try:
        # From JSON, where a list may be a tuple, though everything else is strict.
        return TrajectoryRecord.model_validate_json(canonical_json.dumps(rest))
    except ValueError as error:
        raise DamagedError(f"{path}: not the record of a trajectory", _REMEDY) from error
