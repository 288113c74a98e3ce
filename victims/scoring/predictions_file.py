"""What a victim in another program is given, a file a training, and its predictions read back.

    QUERIES/queries.json     the set's content digest, the classes, and the names of the trainings
    QUERIES/NAME.npz         images uint8 [N, H, W, 3], labels int64 [N], queries uint8 [Q, H, W, 3]

A name says nothing to whom it is given: it is a hash of set, trial, victim seed and role. What belongs to which
training is computed again when predictions come back. A file of predictions maps those names, so that predictions for
another set name nothing here.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import canonical_json, npy, store
from poisonsets.manifests.spelling import printable
from poisonsets.manifests.workers import Progress, silent
from poisonsets.victims.scoring.own import Answer, OwnJob, OwnVictim, own_jobs
from poisonsets.victims.scoring.subject import ScorableSet
from poisonsets.victims.trainers.own.tasks import OwnTask, Role, own_pair, own_rows, predictions_of, tasks

FORMAT: Final = "poisonset-queries/1"
JSON_BYTES: Final = 256 << 20


def write_queries(
    out: Path,
    opened: ScorableSet,
    base: Base,
    *,
    trials: Sequence[int] | None = None,
    victim_seeds: Sequence[int] = (0,),
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Write the trainings of a set for another program, and return their names in order.

    Args:
        out: a folder that is empty or new.
        opened: the set.
        base: the base dataset that it pins.
        trials, victim_seeds: as for `evaluate_set`.
        progress: told the trainings written, and all.

    Raises:
        UsageError: the set has no such trial.
        MissingError: the folder is not empty, or the disk refuses.
        DamagedError: the set is damaged.
    """
    store.refuse_nonempty(out)
    base = base.as_pinned(opened.manifest.base)
    named = trainings(opened, base, trials, victim_seeds)
    store.make_folder(out)
    for number, (name, training) in enumerate(sorted(named.items())):
        task = training.task(base)
        given = task.training_set()
        file = io.BytesIO()
        np.savez(file, images=given.images, labels=given.labels, queries=task.queries())
        store.write_file(out / f"{name}.npz", file.getvalue())
        progress(number + 1, len(named))
    names = [base.classes[label] for label in base.victim_classes]
    said = {"format": FORMAT, "content_digest": opened.manifest.content_digest, "classes": names}
    store.write_file(out / "queries.json", canonical_json.dumps(said | {"trainings": sorted(named)}))
    return tuple(sorted(named))


class Training(NamedTuple):
    """A training that has a name; no picture is read for it before `task`."""

    job: OwnJob
    role: Role

    def task(self, base: Base) -> OwnTask:
        """What the victim is given; raises as `OwnJob.input`."""
        pair = own_pair(self.job.input(base), base)
        return next(one for one in tasks(pair, base) if one.role == self.role)


def trainings(
    opened: ScorableSet, base: Base, trials: Sequence[int] | None, victim_seeds: Sequence[int]
) -> dict[str, Training]:
    """Each training by its name: of every trial and seed the one on the poisons and that of the clean control.

    Raises:
        UsageError: the set has no such trial, or a composition rule cannot be met.
    """
    found: dict[str, Training] = {}
    base = base.as_pinned(opened.manifest.base)
    for job in own_jobs(opened, OwnVictim("queries"), trials, victim_seeds):
        record, digest = job.trial.record, opened.manifest.content_digest
        control: tuple[Role, ...] = () if own_rows(record, base)[1] is None else ("control",)
        for role in ("poisoned", *control):
            found[_name(digest, record.trial, job.victim_seed, role)] = Training(job, role)
    return found


def _name(content_digest: str, trial: int, victim_seed: int, role: Role) -> str:
    """The name of a training: 16 hexadecimal digits."""
    said = ["queries/1", content_digest, trial, victim_seed, role]
    return hashlib.sha256(canonical_json.dumps(said)).hexdigest()[:16]


def read_predictions(path: Path) -> dict[str, Any]:
    """The predictions in a file, by the name of the training: lists of labels of `.json`, arrays of `.npz`.

    What they hold is checked when they are used.

    Raises:
        UsageError: it is called neither.
        MissingError: there is no such file.
        DamagedError: it is too large, no mapping, or holds objects that are no numbers.
    """
    if path.suffix == ".npz":
        return dict(npy.read_zip(path))
    if path.suffix != ".json":
        raise UsageError(f"{path}: neither .json nor .npz", "Write labels into a .json, labels or logits into an .npz")
    found = canonical_json.parse(store.read_file(path, JSON_BYTES), str(path))
    if not isinstance(found, dict):
        raise DamagedError(f"{path}: no object of trainings and their predictions", "See docs/defence.md")
    return {str(name): _numbers(values, f"{path}: {printable(str(name))}") for name, values in found.items()}


def answer_from(found: Mapping[str, Any], wanted: Mapping[str, Training], content_digest: str, where: str) -> Answer:
    """What answers the tasks of a set from predictions.

    Raises:
        UsageError: there are predictions for trainings that are not wanted, or none for one that is.
    """
    if strange := sorted(set(found) - set(wanted)):
        raise UsageError(
            f"{where}: predictions for {len(strange)} trainings that are not of these trials and victim seeds, "
            f"such as {printable(strange[0])}",
            "Give the set, the `--trials` and the `--victim-seeds` with which the queries were written",
        )
    for name, (job, role) in wanted.items():
        if name not in found:
            what = predictions_of(job.trial.record.trial, job.victim_seed, role)
            raise UsageError(f"{where}: no {what} ({name})", f"Predict the queries of {name}.npz too")

    def answer(task: OwnTask) -> object:
        return found[_name(content_digest, task.pair.trial.trial, task.spec.victim_seed, task.role)]

    return answer


def _numbers(values: Any, where: str) -> NDArray[np.int64]:
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < 1 << 31 for value in values):
        raise DamagedError(f"{where}: no list of labels, whole numbers from 0", "Logits go into an .npz")
    return np.array(values, dtype=np.int64)
