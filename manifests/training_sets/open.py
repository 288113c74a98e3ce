"""Open a whole training set without a manifest: its victims train on exactly these images.

Images of the base's own are rows of the base; all others are the slots of a trial whose composition removes the
base's missing images. So the clean control is the base's whole training split.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.image_stack import PROGRESS_STEP
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.images import decode
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.files.tar_reader import Shard
from poisonsets.manifests.overlay.targets import TargetImage
from poisonsets.manifests.records.trial import Slots, SplitTarget, Supplant, Trial, Unconstrained
from poisonsets.manifests.training_sets.contents import TrainedOnImage, TrainingSetContents
from poisonsets.manifests.training_sets.matcher import ImageMatcher
from poisonsets.manifests.training_sets.shard_paths import shards_of
from poisonsets.manifests.training_sets.targets_file import TargetEntry, TargetSpec
from poisonsets.manifests.training_sets.training_set import OpenTrainingSet, TrainingSetDescription, TrainingSetTrial
from poisonsets.manifests.workers import Progress, silent


def open_training_set(
    shards: Path | str, base: Base, targets: TargetSpec, *, progress: Progress = silent
) -> OpenTrainingSet:
    """Open the WebDataset shards of a whole training set; protocols must compose as the trial does.

    A sample has one `.png`, `.jpg` or `.jpeg` and a `.cls`, as for the base `webdataset:PATH`; nothing is extracted.
    With source classes only, the one target that every trial needs is the first test image of these classes.

    Args:
        shards: a folder, one `.tar`, or a pattern `part-{000..009}.tar`.
        base: the dataset it was made from.
        targets: from `read_targets` or `source_targets`.
        progress: called now and then with the images read and how many the base has.

    Raises:
        MissingError: a file is missing.
        DamagedError: a shard, sample or image cannot be read.
        UsageError: an image has another size or class than the base's, all images are the base's own, a target is no
            image of the base, or the trigger does not fit.
    """
    paths = shards_of(shards)
    matcher = ImageMatcher(base)
    for path in paths:
        for key, data, label in Shard(path).samples():
            where = f"{path}: {key}"
            matcher.add(decode(data, where, None), label, where)
            if matcher.images % PROGRESS_STEP == 0:
                progress(matcher.images, max(matcher.images + 1, len(base.train.labels)))
    if not matcher.other_labels():
        what = f"all {matcher.images} images are training images of {base.name}" if matcher.images else "no image"
        raise UsageError(f"{shards}: {what}, so there is nothing to score", "Check the path and --base")
    trials = _trials(matcher, base, targets)
    contents = _contents(matcher, base, trials, len(paths))
    description = TrainingSetDescription(base.pin(), _content_digest(base, contents.samples, targets))
    return OpenTrainingSet(Path(shards), description, trials, contents)


def _trials(matcher: ImageMatcher, base: Base, targets: TargetSpec) -> tuple[TrainingSetTrial, ...]:
    """One trial per target; all share their slots, composition and images."""
    images, labels = matcher.others()
    slots = Slots(bases=(None,) * len(labels), labels=tuple(labels.tolist()))
    composition, pixels = Supplant(removed=matcher.missing()), pixel_digest(images, labels)
    return tuple(
        TrainingSetTrial(
            Trial(
                trial=number,
                targets=(SplitTarget(split=one.split, index=one.index, label=one.label),),
                source_classes=targets.record.source_classes,
                adversarial_label=one.adversarial_label,
                labels="adversarial",
                constraint=Unconstrained(),
                composition=composition,
                slots=slots,
                pixels=pixels,
            ),
            images,
            targets.trigger,
        )
        for number, one in enumerate(_entries(targets, base))
    )


def _entries(targets: TargetSpec, base: Base) -> tuple[TargetEntry, ...]:
    """The targets, or the first test image of the source classes."""
    record = targets.record
    if record.adversarial_label is None:
        return record.targets
    counted = {label: int((base.test.labels == label).sum()) for label in record.source_classes}
    if not all(counted.values()):
        absent = min(label for label, count in counted.items() if not count)
        raise UsageError(f"{base.name} has no test image of source class {absent}")
    first = int(np.flatnonzero(np.isin(base.test.labels, record.source_classes))[0])
    label = int(base.test.labels[first])
    return (TargetEntry(split="test", index=first, label=label, adversarial_label=record.adversarial_label),)


def _contents(
    matcher: ImageMatcher, base: Base, trials: tuple[TrainingSetTrial, ...], shards: int
) -> TrainingSetContents:
    tested = base.test.images[np.isin(base.test.labels, base.victim_classes)]
    labels = matcher.other_labels()
    return TrainingSetContents(
        samples=matcher.digest(),
        shards=shards,
        images=matcher.images,
        own=matcher.images - matcher.elsewhere - labels.total(),
        others=labels.total(),
        other_labels=dict(sorted(labels.items())),
        relabelled=matcher.relabelled,
        elsewhere=matcher.elsewhere,
        missing=len(matcher.missing()),
        test_images=sum(matcher.label_of(image) is not None for image in tested),
        targets_trained_on=tuple(one for trial in trials for one in _known(matcher, trial, trial.targets(base))),
        source_images=len({one.image for one in _known(matcher, trials[0], trials[0].sources(base))}),
    )


def _known(matcher: ImageMatcher, trial: TrainingSetTrial, images: Iterable[TargetImage]) -> Iterator[TrainedOnImage]:
    """The images that were trained on, plain or stamped."""
    for one in images:
        for shown, on in ((one.plain, False), (one.stamped, True)):
            label = matcher.label_of(shown)
            if label is not None and (trial.trigger is not None or not on):
                yield TrainedOnImage(trial.record.trial, one.record.image_id, label, on)


def _content_digest(base: Base, digest: str, targets: TargetSpec) -> str:
    """The digest of everything that a row depends on; its `format` keeps it apart from any poison set's."""
    document = {
        "format": "training-set/1",
        "base": {name: pin.digest for name, pin in base.pin().splits.items()},
        "victim_classes": list(base.victim_classes),
        "samples": digest,
        "asked": targets.identity(),
    }
    return hashlib.sha256(canonical_json.dumps(document)).hexdigest()
