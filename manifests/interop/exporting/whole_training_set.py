"""A trial's whole training set, the rows that a victim trains on, as plain WebDataset shards for any trainer."""

import json
from collections.abc import Iterator

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import png
from poisonsets.manifests.files.tar_writer import shard
from poisonsets.manifests.interop.export_targets import exported_targets
from poisonsets.manifests.interop.formats.webdataset import targets_files
from poisonsets.manifests.overlay.compose import Rule, TrainingRows, compose, composed_images
from poisonsets.manifests.sets.reader import OpenTrial


def training_set_files(trial: OpenTrial, base: Base, rule: Rule) -> Iterator[tuple[str, bytes]]:
    """The files of a trial's whole training set.

    `train-NNNNNN.tar` (1,000 samples of `.cls` and `.png`, keyed by row), `classes.json` (class names by label),
    `targets/` (each target as the victim sees it) and, for `poisonsets score --targets`, `targets.json`.

    Raises:
        UsageError: the rule cannot be met.
    """
    poisons, _ = trial.poisons()
    try:
        rows = compose(base.train.labels, trial.record, rule, base.victim_classes)
    except UsageError as error:
        raise UsageError(f"trial {trial.number}: {error.message}", error.remedy) from error
    for number, first in enumerate(range(0, len(rows), limits.SLOTS_PER_SHARD)):
        part = slice(first, first + limits.SLOTS_PER_SHARD)
        some = TrainingRows(rows.base[part], rows.slot[part], rows.label[part])
        keys = [f"{row:08d}" for row in range(first, first + len(some))]
        yield f"train-{number:06d}.tar", shard(keys, composed_images(base.train.images, some, poisons), some.label)
    yield "classes.json", (json.dumps(list(base.classes), indent=1) + "\n").encode()
    for place, target in enumerate(exported_targets(trial, base)):
        name = f"targets/{place}-of-class-{target.label}-wanted-{trial.record.adversarial_label}.png"
        yield name, png.encode(target.stamped)
    yield from targets_files(trial, base)
