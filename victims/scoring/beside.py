"""What is stored beside a row where asked for: how its victims were trained, and the victims themselves."""

from dataclasses import dataclass
from pathlib import Path

from poisonsets.manifests.bases.dataset import Base
from poisonsets.victims.results.folder import ResultsFolder, trajectory_path, victim_path
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.trajectory import Trajectory, TrajectoryRecord, write_trajectory
from poisonsets.victims.results.victim_file import Role, VictimRecord, write_victim
from poisonsets.victims.scoring.jobs import Job
from poisonsets.victims.trainers.predictions import Predictions
from poisonsets.victims.trainers.whole_network.initial_values import network_spec


@dataclass(frozen=True)
class Beside:
    """What is stored beside each row.

    Attributes:
        trajectories: the courses of victim and control in training.
        victims: both of them.
    """

    trajectories: bool = False
    victims: bool = False

    def write(self, results: Path, job: Job, found: Predictions, base: Base) -> None:
        """Store it, before the row; a MissingError where the disk refuses."""
        key = job.identity.key
        if self.trajectories:
            write_trajectory(trajectory_path(results, key), _trajectory(job, found))
        if self.victims:
            spec = network_spec(job.protocol, None if job.extractor is None else job.extractor.network, base)
            evaluations = {"poisoned": found.victim, "control": found.control}
            for record in _victims(job, control=found.control is not None):
                if (trained := evaluations[record.role]) is not None:
                    write_victim(victim_path(results, key, record.role), record, trained.state, spec=spec, base=base)

    def whole(self, folder: ResultsFolder, job: Job, row: Row) -> bool:
        """Whether all of it stands beside a stored row.

        Raises:
            DamagedError: as `ResultsFolder.has_trajectory` and `has_victim`.
        """
        control = row.control is not None
        if self.trajectories and not folder.has_trajectory(_trajectory_record(job, control=control)):
            return False
        return not self.victims or all(folder.has_victim(record) for record in _victims(job, control=control))


def _victims(job: Job, *, control: bool) -> list[VictimRecord]:
    """The records of a job's victim and of any control."""
    roles: tuple[Role, ...] = ("poisoned", "control") if control else ("poisoned",)
    alone = job.extractor if job.protocol.training == "frozen" else None
    features = None if alone is None else alone.network.feature_width
    return [VictimRecord(**job.identity.fields(), **job.shape(), role=role, features=features) for role in roles]


def _trajectory_record(job: Job, *, control: bool) -> TrajectoryRecord:
    record = job.trial.record
    return TrajectoryRecord(
        **job.identity.fields(),
        labels=tuple(target.label for target in record.targets),
        adversarial_label=record.adversarial_label,
        epochs=job.protocol.epochs,
        control=control,
    )


def _trajectory(job: Job, predictions: Predictions) -> Trajectory:
    victim, control = predictions.victim, predictions.control
    if victim.curves is None:
        raise ValueError(f"trial {job.trial.record.trial}: the curves of its victim were not recorded")
    record = _trajectory_record(job, control=control is not None)
    return Trajectory(record, victim.curves, None if control is None else control.curves)
