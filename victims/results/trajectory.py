"""How a job's victims came to their predictions, epoch by epoch, in one array file a job: whole or absent.

Its arrays are named `poisoned.cosine`, `control.true_loss` and so on: the curves of the victim trained on the poisons,
then those of any clean control. Its record is a `TrajectoryRecord`.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import array_file, canonical_json
from poisonsets.manifests.files.safetensors_header import ArraySpec
from poisonsets.manifests.records.fields import Index, Label, first_fault
from poisonsets.victims.results.job import JobRecord
from poisonsets.victims.trainers.curves import SERIES, Curves

_CURVES: Final = tuple(field.name for field in fields(Curves))
_REMEDY: Final = "Remove the file and score again with trajectories and --resume"


class TrajectoryRecord(JobRecord):
    """The job of a trajectory and of the row beside it, its labels and the lengths of its curves.

    Attributes:
        labels: the true label of each of the K targets.
        epochs: the length of each curve.
        control: whether it has those of a clean control.

    Raises:
        ValueError: pydantic's ValidationError where a field is out of range or the job is that of other fields.
    """

    format: Literal["poisonset-trajectory/2"] = "poisonset-trajectory/2"
    labels: tuple[Label, ...]
    adversarial_label: Label
    epochs: Index
    control: bool

    @property
    def specs(self) -> dict[str, ArraySpec]:
        """The shapes of its arrays: a column for each target in each series, and the cosine."""
        shapes = {name: (self.epochs, len(self.labels)) if name in SERIES else (self.epochs,) for name in _CURVES}
        whose = ("poisoned", "control") if self.control else ("poisoned",)
        return {f"{one}.{name}": ArraySpec("F32", shape) for one in whose for name, shape in shapes.items()}


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A job's trajectory: its record, the poisoned victim's course, and its control's, None without one."""

    record: TrajectoryRecord
    poisoned: Curves
    control: Curves | None


def write_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write a trajectory, whole or not at all; it replaces one there, and folders above are made.

    Raises:
        MissingError: the folder or the disk refuses it.
        ValueError: the curves are not of the shapes that the record says.
    """
    whose = {"poisoned": trajectory.poisoned, "control": trajectory.control}
    arrays = {f"{one}.{name}": getattr(of, name) for one, of in whose.items() if of is not None for name in _CURVES}
    specs = {name: ArraySpec.of(array) for name, array in arrays.items()}
    if specs != trajectory.record.specs:
        raise ValueError(f"curves of {specs}, the record says {trajectory.record.specs}")
    array_file.write(path, trajectory.record.model_dump(mode="json"), arrays)


def read_trajectory(path: Path) -> Trajectory:
    """The trajectory in a file `RESULTS/trajectories/JOB.safetensors`, after all it claims is checked.

    Raises:
        MissingError: there is no such file.
        DamagedError: it is no trajectory, or was changed since it was written.
    """
    file = array_file.read(path, lambda stated: _record(stated, path).specs, limit=512 << 20, remedy=_REMEDY)
    record = _record(file.record, path)

    def curves(whose: str) -> Curves:
        return Curves(**{name: file.arrays[f"{whose}.{name}"] for name in _CURVES})

    return Trajectory(record, curves("poisoned"), curves("control") if record.control else None)


def _record(stated: dict[str, Any], path: Path) -> TrajectoryRecord:
    try:
        # From JSON, where a list may be a tuple, though everything else is strict.
        return TrajectoryRecord.model_validate_json(canonical_json.dumps(stated))
    except ValidationError as error:
        raise DamagedError(f"{path}: not the record of a trajectory ({first_fault(error)})") from error
