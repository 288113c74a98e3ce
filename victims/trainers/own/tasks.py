"""What a victim of the caller's own is given, and how its predictions are read.

A task shows no more than a victim may know: images and labels in an order drawn from the victim seed, and the images to
be classified, targets among clean test images, in an order of their own. Nothing says which rows are poisons, and the
task of the clean control has the same form, size and orders.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.overlay.compose import TrainingRows, clean_control, compose, composed_images
from poisonsets.manifests.stream import Stream
from poisonsets.victims.trainers.predictions import Evaluation, Predictions
from poisonsets.victims.trainers.victim_pair import JobInput
from poisonsets.victims.training.labels import images_of, positions

Role: TypeAlias = Literal["poisoned", "control"]


@dataclass(frozen=True, eq=False)
class OwnTrainingSet:
    """What a victim of the caller's own trains on.

    Attributes:
        images: uint8 [N, H, W, 3], RGB.
        labels: int64 [N], 0..C-1 in the order of `classes`.
        classes: their names.
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]


class _Asked(NamedTuple):
    """Different images [Q, H, W, 3], where among them the job's images and then the test images stand, and the
    positions of the latter's labels."""

    images: Images
    place: NDArray[np.int64]
    test_labels: Labels


@dataclass(frozen=True, eq=False)
class OwnTask:
    """The training of one victim.

    Attributes:
        job: the trial, its poisons and what is asked.
        role: whether it trains on the poisons or on the clean images in their place.
        base: gives the clean images, and the test images that are asked for too.
    """

    job: JobInput
    role: Role
    base: Base

    @property
    def where(self) -> str:
        """How a refusal names it."""
        trial, what = self.job.trial.trial, "the poisons" if self.role == "poisoned" else "the clean control"
        return f"trial {trial}, victim seed {self.job.victim_seed}, predictions after training on {what}"

    @cached_property
    def rows(self) -> TrainingRows:
        """The rows of the training set in the order of the composition, by the trial's own rule."""
        poisoned, control = _rows(self.job, self.base)
        if self.role == "poisoned":
            return poisoned
        if control is None:
            raise UsageError(f"{self.where}: a base is unknown, so there is none", "Leave the control out")
        return control

    def training_set(self) -> OwnTrainingSet:
        """The images and labels in an order drawn from the victim seed, the same for both roles."""
        rows, classes = self.rows, self.base.victim_classes
        images = composed_images(self.base.train.images, rows, self.job.poisons)
        order = self._order("rows", len(rows))
        names = tuple(self.base.classes[label] for label in classes)
        return OwnTrainingSet(images[order], positions(rows.label, classes)[order], names)

    def queries(self) -> Images:
        """uint8 [Q, H, W, 3]: targets, images of source classes and clean test images, in an order of their own.

        Each picture occurs once: a target that came twice, as itself and as a test image, would be given away.
        """
        return self._asked.images[self._order("queries", len(self._asked.images))]

    def evaluation(self, predictions: object) -> Evaluation:
        """The labels given to the job's images, and how many clean test images were called rightly.

        Args:
            predictions: labels 0..C-1, integers [Q], or logits or probabilities, floats [Q, C], in the order of
                `queries`: an array, a tensor or a list.

        Raises:
            UsageError: they are not.
        """
        classes, asked, count = self.base.victim_classes, self._asked, len(self._asked.images)
        found = np.empty(count, dtype=np.int64)
        found[self._order("queries", count)] = places(predictions, count, len(classes), self.where)
        given, tests = np.split(found[asked.place], [len(self.job.images)])
        return Evaluation(tuple(classes[place] for place in given.tolist()), int((tests == asked.test_labels).sum()))

    @cached_property
    def _asked(self) -> _Asked:
        tests, labels = images_of(self.base.test, self.base.victim_classes)
        every = np.concatenate([self.job.images, tests])
        first: dict[bytes, int] = {}
        place = [first.setdefault(hashlib.sha256(image.data).digest(), len(first)) for image in every]
        _, chosen = np.unique(place, return_index=True)
        return _Asked(every[chosen], np.array(place), labels)

    def _order(self, what: Literal["rows", "queries"], count: int) -> NDArray[np.int64]:
        # Not by role: the control sees each clean row where the victim sees it. Nor rows by trial: where the rows of
        # their controls are equal, trials have one control.
        trial = (self.job.trial.trial,) if what == "queries" else ()
        seed = Stream("own victim", what, self.job.victim_seed, *trial).seed()
        return np.random.default_rng(seed).permutation(count)


def tasks(job: JobInput, base: Base) -> Iterator[OwnTask]:
    """The task on the poisons and, where every base is known, that of the clean control; a coin decides which is first.

    Raises:
        UsageError: the trial's composition rule cannot be met.
    """
    both = [OwnTask(job, "poisoned", base)]
    if _rows(job, base)[1] is not None:
        turn = Stream("own victim", "turn", job.victim_seed, job.trial.trial).below(2)
        both.insert(turn, OwnTask(job, "control", base))
    yield from both


def predictions_of(job: JobInput, base: Base, found: dict[Role, Evaluation]) -> Predictions:
    """A job's victim and control, evaluated."""
    rows, control = _rows(job, base)
    return Predictions(
        victim=found["poisoned"],
        control=found.get("control"),
        test_images=len(images_of(base.test, base.victim_classes)[1]),
        training_images=len(rows),
        poisons=int((rows.slot >= 0).sum()),
        control_rows=None if control is None else control.digest(),
    )


def places(predictions: object, count: int, classes: int, where: str) -> NDArray[np.int64]:
    """Predictions as positions int64 [count] in 0..classes-1; a UsageError where they are anything else."""
    tensor = getattr(predictions, "detach", None)
    try:
        found = np.asarray(tensor().cpu() if callable(tensor) else predictions)
    except (ValueError, TypeError) as error:  # lists of unequal lengths, tensors that are no arrays
        raise UsageError(f"{where} are no array ({str(error)[:100]})", "Return an array of labels") from error
    wanted = f"wanted labels, integers [{count}], or logits, floats [{count}, {classes}]"
    remedy = f"Return one of 0 to {classes - 1} for each query, in their order"
    if found.ndim not in (1, 2) or len(found) != count or found.shape[1:] not in ((), (classes,)):
        raise UsageError(f"{where} have shape {list(found.shape)}, {wanted}", remedy)
    if found.ndim == 2 and found.dtype.kind in "f":
        if not np.isfinite(found).all():
            raise UsageError(f"{where} hold values that are not finite", "Return finite logits")
        best: NDArray[np.int64] = found.argmax(1).astype(np.int64)
        return best
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(f"{where} are {found.dtype} {list(found.shape)}, {wanted}", remedy)
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < classes:
        strange = int(found.max()) if int(found.min()) >= 0 else int(found.min())
        raise UsageError(f"{where} have the label {strange}, wanted 0 to {classes - 1}", remedy)
    return found.astype(np.int64)


def _rows(job: JobInput, base: Base) -> tuple[TrainingRows, TrainingRows | None]:
    labels, classes, rule = base.train.labels, base.victim_classes, job.trial.composition
    rows = compose(labels, job.trial, rule, classes)
    return rows, clean_control(labels, rows, rule, classes)
