"""What a victim of the caller's own is given, and how its predictions are read.

A task shows no more than a victim may know: images and labels in an order drawn from the victim seed, and the images to
be classified, targets among clean test images, in an order of their own. Nothing says which rows are poisons, and the
task of the clean control has the same form, size and orders.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images, Labels
from poisonsets.manifests.overlay.compose import TrainingRows, clean_control, compose, composed_images
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.stream import Stream
from poisonsets.victims.trainers.predictions import Evaluation
from poisonsets.victims.trainers.victim_pair import JobInput, VictimPair, VictimSpec
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


class Asked(NamedTuple):
    """Different images [Q, H, W, 3], where among them the job's images and then the test images stand, and the
    positions of the latter's labels."""

    images: Images
    place: NDArray[np.int64]
    test_labels: Labels


@dataclass(frozen=True, eq=False)
class OwnTask:
    """The training of one victim.

    Attributes:
        pair: the victims of its job.
        spec: which of them it is.
        base: gives the clean images.
        asked: what both are asked.
    """

    pair: VictimPair
    spec: VictimSpec
    base: Base
    asked: Asked

    @property
    def role(self) -> Role:
        """Whether it trains on the poisons or on the clean images in their place."""
        return role_of(self.spec)

    def training_set(self) -> OwnTrainingSet:
        """The images and labels in an order drawn from the victim seed, the same for both roles."""
        rows, classes = self.spec.rows, self.base.victim_classes
        images = composed_images(self.base.train.images, rows, self.spec.poisons)
        order = self._order("rows", len(rows))
        names = tuple(self.base.classes[label] for label in classes)
        return OwnTrainingSet(images[order], positions(rows.label, classes)[order], names)

    def queries(self) -> Images:
        """uint8 [Q, H, W, 3]: targets, images of source classes and clean test images, in an order of their own.

        Each picture occurs once: a target that came twice, as itself and as a test image, would be given away.
        """
        return self.asked.images[self._order("queries", len(self.asked.images))]

    def evaluation(self, predictions: object) -> Evaluation:
        """The labels given to the job's images, and how many clean test images were called rightly.

        Args:
            predictions: labels 0..C-1, integers [Q], or logits or probabilities, floats [Q, C], in the order of
                `queries`: an array, a tensor or a list.

        Raises:
            UsageError: they are not.
        """
        classes, asked, count = self.base.victim_classes, self.asked, len(self.asked.images)
        found = np.empty(count, dtype=np.int64)
        found[self._order("queries", count)] = places(predictions, count, len(classes), self.spec.where)
        given, tests = np.split(found[asked.place], [len(self.pair.images)])
        return Evaluation(tuple(classes[place] for place in given.tolist()), int((tests == asked.test_labels).sum()))

    def _order(self, what: Literal["rows", "queries"], count: int) -> NDArray[np.int64]:
        # Not by role: the control sees each clean row where the victim sees it. Nor rows by trial: where the rows of
        # their controls are equal, trials have one control.
        trial = (self.pair.trial.trial,) if what == "queries" else ()
        seed = Stream("own victim", what, self.spec.victim_seed, *trial).seed()
        return np.random.default_rng(seed).permutation(count)


def predictions_of(trial: int, victim_seed: int, role: Role) -> str:
    """How a refusal names what a victim predicts."""
    images = "the poisons" if role == "poisoned" else "the clean control"
    return f"trial {trial}, victim seed {victim_seed}, predictions after training on {images}"


def role_of(spec: VictimSpec) -> Role:
    """Whether a victim trains on poisons."""
    return "control" if spec.poisons is None else "poisoned"


def own_pair(job: JobInput, base: Base) -> VictimPair:
    """The victims of a job by the trial's own composition; a UsageError where its rule cannot be met."""
    rows, control = own_rows(job.trial, base)
    number, seed, drawn_by = job.trial.trial, job.victim_seed, rows if control is None else control
    victim = VictimSpec(rows, drawn_by, seed, job.poisons, predictions_of(number, seed, "poisoned"))
    clean = VictimSpec(drawn_by, drawn_by, seed, None, predictions_of(number, seed, "control"))
    return VictimPair(job.trial, job.images, victim, None if control is None else clean)


def own_rows(trial: Trial, base: Base) -> tuple[TrainingRows, TrainingRows | None]:
    """The rows of a trial's victim, and of its clean control where every base is known; raises as `compose`."""
    labels, classes, rule = base.train.labels, base.victim_classes, trial.composition
    rows = compose(labels, trial, rule, classes)
    return rows, clean_control(labels, rows, rule, classes)


def tasks(pair: VictimPair, base: Base) -> list[OwnTask]:
    """The task on the poisons and, where there is one, that of the clean control; a coin decides which is first."""
    asked = _asked(pair.images, base)
    both = [OwnTask(pair, spec, base, asked) for spec in pair.specs]
    if len(both) == 2 and Stream("own victim", "turn", pair.victim.victim_seed, pair.trial.trial).below(2) == 0:
        both.reverse()
    return both


def _asked(images: Images, base: Base) -> Asked:
    tests, labels = images_of(base.test, base.victim_classes)
    every = np.concatenate([images, tests])
    first: dict[bytes, int] = {}
    place = [first.setdefault(hashlib.sha256(image.data).digest(), len(first)) for image in every]
    _, chosen = np.unique(place, return_index=True)
    return Asked(every[chosen], np.array(place), labels)


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
