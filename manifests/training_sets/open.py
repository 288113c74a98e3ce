"""Open a whole training set that has no manifest: its victims train on exactly these images.

Every image that is the base's own is that row of the base; all others are the slots of a trial whose composition
takes out the base's images that are missing. So the clean control is the base's whole training split.
"""

from __future__ import annotations

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
from poisonsets.manifests.files.tar_reader import samples
from poisonsets.manifests.overlay.targets import TargetImage
from poisonsets.manifests.records.trial import Slots, SplitTarget, Supplant, Trial, Unconstrained
from poisonsets.manifests.training_sets.contents import Found, Known
from poisonsets.manifests.training_sets.matching import Matching
from poisonsets.manifests.training_sets.shard_paths import shards_of
from poisonsets.manifests.training_sets.targets_file import Asked, AskedTarget
from poisonsets.manifests.training_sets.training_set import Description, WholeSet, WholeTrial
from poisonsets.manifests.workers import Progress, silent


def open_training_set(shards: Path | str, base: Base, asked: Asked, *, progress: Progress = silent) -> WholeSet:
    """Open the WebDataset shards of a whole training set; protocols must compose as the trial does.

    A sample has one `.png`, `.jpg` or `.jpeg` and a `.cls`, as for the base `webdataset:PATH`; nothing is extracted.
    With source classes alone the one target that every trial needs is the first test image of these classes.

    Args:
        shards: a folder, one `.tar`, or a pattern `part-{000..009}.tar`.
        base: the dataset it was made from; victims know its `victim_classes`.
        asked: from `read_targets` or `source_targets`.
        progress: told now and then the images read, and how many the base has.

    Raises:
        MissingError: a file is not there.
        DamagedError: a shard, sample or image cannot be read.
        UsageError: images of another size or class than the base's, none that differs from the base's, a target that
            is no image of the base, or a trigger that does not fit.
    """
    paths = shards_of(shards)
    matching = Matching(base)
    for path in paths:
        for key, data, label in samples(path):
            where = f"{path}: {key}"
            matching.add(decode(data, where, None), label, where)
            if matching.images % PROGRESS_STEP == 0:
                progress(matching.images, max(matching.images + 1, len(base.train.labels)))
    if not matching.other_labels():
        what = f"all {matching.images} images are training images of {base.name}" if matching.images else "no image"
        raise UsageError(f"{shards}: {what}, so there is nothing to score", "Check the path and --base")
    trials = _trials(matching, base, asked)
    found = _found(matching, base, trials, len(paths))
    return WholeSet(Path(shards), Description(base.pin(), _content_digest(base, found.samples, asked)), trials, found)


def _trials(matching: Matching, base: Base, asked: Asked) -> tuple[WholeTrial, ...]:
    """One a target; slots, composition and images are the same objects in all of them."""
    images, labels = matching.others()
    slots = Slots(bases=(None,) * len(labels), labels=tuple(labels.tolist()))
    composition, pixels = Supplant(removed=matching.missing()), pixel_digest(images, labels)
    return tuple(
        WholeTrial(
            Trial(
                trial=number,
                targets=(SplitTarget(split=one.split, index=one.index, label=one.label),),
                source_classes=asked.record.source_classes,
                adversarial_label=one.adversarial_label,
                labels="adversarial",
                constraint=Unconstrained(),
                composition=composition,
                slots=slots,
                pixels=pixels,
            ),
            images,
            asked.trigger,
        )
        for number, one in enumerate(_targets(asked, base))
    )


def _targets(asked: Asked, base: Base) -> tuple[AskedTarget, ...]:
    """The single targets; of source classes alone their first test image."""
    record = asked.record
    if record.adversarial_label is None:
        return record.targets
    counted = {label: int((base.test.labels == label).sum()) for label in record.source_classes}
    if not all(counted.values()):
        absent = min(label for label, count in counted.items() if not count)
        raise UsageError(f"{base.name} has no test image of source class {absent}")
    first = int(np.flatnonzero(np.isin(base.test.labels, record.source_classes))[0])
    label = int(base.test.labels[first])
    return (AskedTarget(split="test", index=first, label=label, adversarial_label=record.adversarial_label),)


def _found(matching: Matching, base: Base, trials: tuple[WholeTrial, ...], shards: int) -> Found:
    tested = base.test.images[np.isin(base.test.labels, base.victim_classes)]
    labels = matching.other_labels()
    return Found(
        samples=matching.digest(),
        shards=shards,
        images=matching.images,
        own=matching.images - matching.elsewhere - labels.total(),
        others=labels.total(),
        other_labels=dict(sorted(labels.items())),
        relabelled=matching.relabelled,
        elsewhere=matching.elsewhere,
        missing=len(matching.missing()),
        test_images=sum(matching.label_of(image) is not None for image in tested),
        targets=tuple(one for trial in trials for one in _known(matching, trial, trial.targets(base))),
        source_images=len({one.image for one in _known(matching, trials[0], trials[0].sources(base))}),
    )


def _known(matching: Matching, trial: WholeTrial, images: Iterable[TargetImage]) -> Iterator[Known]:
    """Those of the images that were trained on, plain or with the trigger on."""
    for one in images:
        for shown, on in ((one.plain, False), (one.stamped, True)):
            label = matching.label_of(shown)
            if label is not None and (trial.trigger is not None or not on):
                yield Known(trial.record.trial, one.record.image_id, label, on)


def _content_digest(base: Base, digest: str, asked: Asked) -> str:
    """Of everything a row depends on; a document no poison set is named by, for it has a format."""
    document = {
        "format": "training-set/1",
        "base": {name: pin.digest for name, pin in base.pin().splits.items()},
        "victim_classes": list(base.victim_classes),
        "samples": digest,
        "asked": asked.identity(),
    }
    return hashlib.sha256(canonical_json.dumps(document)).hexdigest()
