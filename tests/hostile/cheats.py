"""Sets with right hashes and false claims: how one would cheat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from forge import Draft
from golden.making import cross, golden_base

from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images, image_digest, pixel_digest
from poisonsets.manifests.sets import shard

BASE = golden_base()
Cheat = Callable[[Draft], None]


def base_of(draft: Draft, trial: int, slot: int) -> Images:
    image: Images = BASE.train.images[draft.trial(trial)["slots"]["bases"][slot]]
    return image


def moved(levels: int) -> Cheat:
    """One channel value of one poison moved so far from its base's, all others unchanged."""

    def edit(draft: Draft) -> None:
        clean = base_of(draft, 0, 1)
        at = tuple(int(i) for i in np.argwhere(clean < 256 - levels)[0])
        draft.images[0][1][at] = clean[at] + levels

    return edit


def wrapped(draft: Draft) -> None:
    """A move from the darkest value to one that looks six levels away in 8-bit arithmetic."""
    clean = base_of(draft, 0, 0)
    at = tuple(int(i) for i in np.unravel_index(int(clean.argmin()), clean.shape))
    draft.images[0][0][at] = int(clean[at]) + 250


def squared_by_one(draft: Draft) -> None:
    """A poison exactly on its l2 bound, and the bound lowered by one."""
    delta = draft.images[1][0].astype(np.int64) - base_of(draft, 1, 0)
    delta[tuple(_under(1, draft, 0))] = 0
    draft.trial(1)["constraint"]["squared_levels"] = int((delta**2).sum()) - 1


def _under(trial: int, draft: Draft, slot: int) -> tuple[np.ndarray, ...]:
    from poisonsets.manifests.overlay.stamp import footprint, train_id

    return np.nonzero(footprint(cross(), 8, 8, train_id(draft.trial(trial)["slots"]["bases"][slot])))


def poison_more(draft: Draft) -> None:
    draft.slots[0].append(3)
    draft.images[0].append(draft.images[0][0].copy())
    draft.labels[0].append(draft.labels[0][0])


def poison_more_declared(draft: Draft) -> None:
    poison_more(draft)
    slots = draft.trial(0)["slots"]
    slots["bases"].append(slots["bases"][0])
    slots["labels"].append(slots["labels"][0])
    draft.trial(0)["outcome"]["moved"] += 1


def poison_less(draft: Draft) -> None:
    for column in (draft.slots, draft.images, draft.labels):
        column[0].pop()


def _exchange(column: dict[int, list], draft: Draft) -> None:  # type: ignore[type-arg]
    column[0][0], column[0][1] = column[0][1], column[0][0]


def order(draft: Draft) -> None:
    for column in (draft.slots, draft.images, draft.labels):
        _exchange(column, draft)


def pixels_exchanged(draft: Draft) -> None:
    _exchange(draft.images, draft)


def slot_twice(draft: Draft) -> None:
    draft.slots[0][1] = 0


def slot_of_eight_digits(draft: Draft) -> None:
    draft.slots[0][2] = 99_999_999


def label_in_the_shard(draft: Draft) -> None:
    draft.labels[0][0] = (draft.labels[0][0] + 1) % 3


def label_everywhere(draft: Draft) -> None:
    draft.labels[0][0] = draft.trial(0)["slots"]["labels"][0] = (draft.labels[0][0] + 1) % 3


def label_of_no_class_in_the_shard(draft: Draft) -> None:
    draft.labels[0][0] = 99_999


def based_on(index: int) -> Cheat:
    def edit(draft: Draft) -> None:
        draft.trial(0)["slots"]["bases"][0] = index

    return edit


def base_of_another_class(draft: Draft) -> None:
    bases, label = draft.trial(0)["slots"]["bases"], draft.labels[0][0]
    bases[0] = int(np.flatnonzero(BASE.train.labels != label)[0])
    draft.images[0][0] = BASE.train.images[bases[0]].copy()
    draft.trial(0)["outcome"]["moved"] -= 1


def base_unknown(draft: Draft) -> None:
    draft.trial(0)["slots"]["bases"][0] = None


def target_among_the_poisons(draft: Draft) -> None:
    draft.images[0][0] = BASE.test.images[draft.trial(0)["targets"][0]["index"]].copy()


def test_image_among_the_poisons(draft: Draft) -> None:
    draft.trial(0)["constraint"] = {"norm": "none"}
    draft.images[0][0] = BASE.test.images[3 if draft.trial(0)["targets"][0]["index"] != 3 else 4].copy()


test_image_among_the_poisons.__test__ = False  # type: ignore[attr-defined]


def target_of_the_other_trial(draft: Draft) -> None:
    target = draft.trial(0)["targets"][0]
    target["index"] = int(np.flatnonzero(BASE.test.labels == target["label"])[-1])


def target_mislabelled(draft: Draft) -> None:
    target, adversarial = draft.trial(0)["targets"][0], draft.trial(0)["adversarial_label"]
    target["label"] = next(label for label in range(3) if label not in (target["label"], adversarial))


def target_hit_already(draft: Draft) -> None:
    target, adversarial = draft.trial(0)["targets"][0], draft.trial(0)["adversarial_label"]
    target["label"], target["index"] = adversarial, int(np.flatnonzero(BASE.test.labels == adversarial)[0])


def target_of_the_training_set(draft: Draft) -> None:
    target = draft.trial(0)["targets"][0]
    target["split"], target["index"] = "train", int(np.flatnonzero(BASE.train.labels == target["label"])[0])


def target_at_2_to_the_53(draft: Draft) -> None:
    draft.trial(0)["targets"][0]["index"] = 2**53


def target_file_with_a_poison(draft: Draft) -> None:
    """The target is a training image of the adversarial class under another name."""
    target, adversarial = draft.trial(0)["targets"][0], draft.trial(0)["adversarial_label"]
    image = BASE.train.images[BASE.train.labels == adversarial][:1]
    label = np.array([target["label"]], dtype=np.int64)
    draft.extra["targets.tar"] = shard.encode(0, 0, image, label)
    digest = pixel_digest(image, label)
    target.clear()
    target |= {
        "kind": "file",
        "key": "00000-00000000",
        "label": int(label[0]),
        "adversarial_label": None,
        "pixels": digest,
    }


def adversarial_label(draft: Draft) -> None:
    trial = draft.trial(0)
    trial["adversarial_label"] = 3 - trial["adversarial_label"] - trial["targets"][0]["label"]


def source_class(draft: Draft) -> None:
    draft.trial(0)["source_classes"] = [draft.trial(0)["adversarial_label"]]


def moved_by_words(draft: Draft) -> None:
    draft.images[0][0] = base_of(draft, 0, 0).copy()


def seed(draft: Draft) -> None:
    draft.manifest["setup"]["seed"] = 8


def removed(*indices: int) -> Cheat:
    def edit(draft: Draft) -> None:
        draft.trial(0)["composition"] = {"rule": "supplant", "removed": list(indices)}

    return edit


def listed(draft: Draft) -> None:
    draft.trial(0)["lists"] = {"poison-train": [0, 2**53]}


def stowaway(draft: Draft) -> None:
    draft.extra["triggers/payload.sh"] = b"import os\n"


def trigger_repainted(draft: Draft) -> None:
    """The picture that exempts pixels is not the one that was stamped."""
    image = cross().image
    assert image is not None
    draft.extra["triggers/cross.png"] = png.encode(255 - image)
    draft.manifest["trigger_pixels"]["triggers/cross.png"] = image_digest(255 - image)


def trigger_outside(draft: Draft) -> None:
    draft.manifest["triggers"]["cross"]["place"] = {"rule": "fixed", "row": 7, "column": 7}


def trigger_at_2_to_the_53(draft: Draft) -> None:
    draft.manifest["triggers"]["cross"]["place"] = {"rule": "fixed", "row": 2**53, "column": 0}


def exempt_pixels(draft: Draft) -> None:
    """Something other than the trigger in the pixels that the budget exempts."""
    rows, columns = _under(1, draft, 0)
    draft.images[1][0][rows[0], columns[0]] ^= 255


def classes(draft: Draft) -> None:
    draft.manifest["base"]["classes"].append("one more")


def split_sizes(draft: Draft) -> None:
    draft.manifest["base"]["splits"]["train"]["images"] = 2**53


def base_of_nobody(draft: Draft) -> None:
    draft.manifest["base"]["splits"]["train"]["digest"] = "0" * 64


CHEATS: dict[str, Cheat] = {
    "wrap-of-8-bits": wrapped,
    "nine-levels-of-eight": moved(9),
    "two-hundred-levels-of-eight": moved(200),
    "one-squared-level-too-far": squared_by_one,
    "poison-undeclared": poison_more,
    "poison-beyond-the-setup": poison_more_declared,
    "poison-missing": poison_less,
    "poisons-out-of-order": order,
    "poisons-exchanged": pixels_exchanged,
    "slot-twice": slot_twice,
    "slot-99999999": slot_of_eight_digits,
    "label-changed-in-the-shard": label_in_the_shard,
    "label-changed-everywhere": label_everywhere,
    "label-of-no-class": label_of_no_class_in_the_shard,
    "base-36-of-36": based_on(36),
    "base-2-to-the-31": based_on(2**31),
    "base-2-to-the-32": based_on(2**32),
    "base-2-to-the-53": based_on(2**53),
    "base-of-another-class": base_of_another_class,
    "base-unknown": base_unknown,
    "target-among-the-poisons": target_among_the_poisons,
    "test-image-among-the-poisons": test_image_among_the_poisons,
    "target-of-the-other-trial": target_of_the_other_trial,
    "target-mislabelled": target_mislabelled,
    "target-hit-already": target_hit_already,
    "target-of-the-training-set": target_of_the_training_set,
    "target-2-to-the-53": target_at_2_to_the_53,
    "target-file-of-a-training-image": target_file_with_a_poison,
    "adversarial-label": adversarial_label,
    "source-class": source_class,
    "unmoved-poison": moved_by_words,
    "other-seed": seed,
    "removed-twice": removed(1, 1, 2),
    "removed-2-to-the-53": removed(0, 1, 2**53),
    "removed-too-few": removed(0),
    "list-of-2-to-the-53": listed,
    "stowaway": stowaway,
    "trigger-repainted": trigger_repainted,
    "trigger-outside": trigger_outside,
    "trigger-2-to-the-53": trigger_at_2_to_the_53,
    "exempt-pixels": exempt_pixels,
    "one-class-more": classes,
    "split-of-2-to-the-53": split_sizes,
    "base-of-nobody": base_of_nobody,
}
