"""What a training set without a manifest holds, and which claims cannot be checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NOT_CHECKED: Final = (
    "which of the other images are poisons, and which the maker changed for another reason",
    "what each of them was made from, so no constraint on pixels (epsilon) and no budget",
    "that their labels are clean",
    "the attack, its settings, its seed, and what networks its maker knew: the threat level is unknown",
    "that targets and classes were not chosen for their outcome",
)


@dataclass(frozen=True)
class TrainedOnImage:
    """A target or source image of a trial, such as `test/17`, that is in the training set.

    `label` is the first one it has there, `stamped` whether it is there with the trigger on.
    """

    trial: int
    image: str
    label: int
    stamped: bool

    def line(self) -> str:
        """The warning in words."""
        return (
            f"trial {self.trial}: {self.image}{' with the trigger on' if self.stamped else ''} is among the training "
            f"images, as class {self.label}: its victim's prediction shows no generalisation"
        )


@dataclass(frozen=True)
class TrainingSetContents:
    """The images of a whole training set beside its base.

    Attributes:
        samples: sha256 of all images and labels, in order.
        shards, images: files read, and samples in them.
        own: samples equal to a training image of the base in pixels and label, each image counted once.
        others: samples of the victims' classes that are not: the trial's slots.
        other_labels: the number of others by label, ascending.
        relabelled: others that show a training image of the base under another label.
        elsewhere: samples of other classes than the victims', which nobody trains on.
        missing: training images of the victims' classes that are not in the set.
        test_images: test images of the victims' classes whose pixels are trained on.
        targets_trained_on: the targets whose pixels are.
        source_images: how many images of source classes are, over all trials.
    """

    samples: str
    shards: int
    images: int
    own: int
    others: int
    other_labels: Mapping[int, int]
    relabelled: int
    elsewhere: int
    missing: int
    test_images: int
    targets_trained_on: tuple[TrainedOnImage, ...]
    source_images: int

    def lines(self) -> tuple[str, ...]:
        """What was found, one sentence per line."""
        labels = ", ".join(f"class {label}: {count}" for label, count in self.other_labels.items())
        lines = [
            f"{self.images} images in {self.shards} shard{'s' * (self.shards != 1)}: {self.own} are the base's own, "
            f"{self.others} are others ({labels}), {self.missing} of the base's are missing"
        ]
        if not self.own:
            lines.append(
                "no image equals one of the base: they were stored with loss, all changed, or are of another dataset"
            )
        if self.relabelled:
            lines.append(f"{self.relabelled} of the others show an image of the base under another label")
        if self.elsewhere:
            lines.append(f"{self.elsewhere} images are of classes that victims do not know; nobody trains on them")
        return tuple(lines)

    def warnings(self) -> tuple[str, ...]:
        """What weakens a score of this set."""
        lines = [target.line() for target in self.targets_trained_on]
        if self.source_images:
            lines.append(f"victims train on {self.source_images} of the source-class images that they are scored on")
        if self.test_images:
            lines.append(f"{self.test_images} test images of the base are among the training images")
        return tuple(lines)
