"""targets.tar holds exactly the declared targets, and no target is an image that victims train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import Draft, check, forge, tar

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images, pixel_digest
from poisonsets.manifests.sets import shard
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.findings import Report

PHOTO = np.random.default_rng(9).integers(0, 256, (8, 8, 3), dtype=np.uint8)
OTHER = 255 - PHOTO


def with_targets(draft: Draft, keys: list[str], held: list[tuple[int, Images, int]], image: Images = PHOTO) -> int:
    """Give trial 0 these file targets and a foreign setup; targets.tar holds each (slot, image, label offset)."""
    trial = draft.trial(0)
    label = (trial["adversarial_label"] + 1) % 3
    draft.manifest["setup"] = {"kind": "foreign", "name": "photographs"}
    pixels = pixel_digest(image[None], np.array([label]))
    trial["targets"] = [
        {"kind": "file", "key": key, "label": label, "adversarial_label": None, "pixels": pixels} for key in keys
    ]
    slots, images, offsets = zip(*held, strict=True)
    draft.extra["targets.tar"] = tar(7, list(slots), list(images), np.array([label + offset for offset in offsets]))
    return int(label)


def verified(honest: Path, tmp_path: Path, base: Base, *arguments: Any) -> Report:
    return check(forge(honest, tmp_path / "forged", lambda draft: with_targets(draft, *arguments) and None), base)


def test_declared_targets_of_any_trial_number_are_accepted(honest: Path, tmp_path: Path, base: Base) -> None:
    report = verified(honest, tmp_path, base, ["00007-00000003"], [(3, PHOTO, 0)])
    assert report.findings == ()


@pytest.mark.parametrize(
    ("held", "place", "message"),
    [
        ([(3, PHOTO, 0), (4, OTHER, 0)], "targets.tar", "sample 00007-00000004 is no declared target"),
        ([(3, PHOTO, 0), (3, PHOTO, 0)], "targets.tar", "sample 00007-00000003 appears 2 times"),
        ([(4, PHOTO, 0)], "trial 0", "has no sample 00007-00000003"),
        ([(3, OTHER, 0)], "trial 0", "other pixels than declared"),
        ([(3, PHOTO, 5)], "trial 0", "in targets.tar"),
    ],
)
def test_v105_stowaways_and_false_samples_are_found(
    honest: Path, tmp_path: Path, base: Base, held: list[Any], place: str, message: str
) -> None:
    report = verified(honest, tmp_path, base, ["00007-00000003"], held)
    assert report.worst == 1
    assert any(
        (found.code, found.place) == ("V105", place) and message in found.message for found in report.findings
    ), [found.line() for found in report.findings]


def test_v102_a_target_file_that_is_not_listed_is_a_false_claim(honest: Path, tmp_path: Path, base: Base) -> None:
    def edit(draft: Draft) -> None:
        with_targets(draft, ["00007-00000003"], [(3, PHOTO, 0)])
        draft.extra.clear()

    report = check(forge(honest, tmp_path / "forged", edit), base)
    assert [(found.code, found.place) for found in report.findings] == [("V102", "targets.tar")]


def test_v404_a_poison_that_is_a_target_of_a_file_is_found(honest: Path, tmp_path: Path, base: Base) -> None:
    def edit(draft: Draft) -> None:
        with_targets(draft, ["00007-00000003"], [(3, PHOTO, 0)])
        draft.images[0][2] = PHOTO

    report = check(forge(honest, tmp_path / "forged", edit), base)
    assert ("V404", "trial 0 slot 2") in {(found.code, found.place) for found in report.findings}


def in_split(draft: Draft, base: Base) -> None:
    label = (draft.trial(0)["adversarial_label"] + 1) % 3
    index = int(np.flatnonzero(base.train.labels == label)[0])
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    draft.trial(0)["targets"] = [
        {"kind": "split", "split": "train", "index": index, "label": label, "adversarial_label": None}
    ]


def in_file(draft: Draft, base: Base) -> None:
    image = base.train.images[5]
    with_targets(draft, ["00007-00000003"], [(3, image, 0)], image)


@pytest.mark.parametrize("lie", [in_split, in_file])
def test_v403_a_target_that_victims_train_on_is_found(
    honest: Path, tmp_path: Path, base: Base, lie: Callable[[Draft, Base], None]
) -> None:
    report = check(forge(honest, tmp_path / "forged", lambda draft: lie(draft, base)), base)
    found = [finding for finding in report.findings if finding.code == "V403"]
    assert report.worst == 1
    assert "training image" in found[0].message


def test_the_file_is_decoded_once(honest: Path, tmp_path: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [(slot, np.full_like(PHOTO, slot), 0) for slot in range(20)]
    keys = [f"00007-{slot:08d}" for slot in range(20)]
    opened = open_set(forge(honest, tmp_path / "set", lambda draft: with_targets(draft, keys, held) and None))
    decoded, decode = [], shard.decode
    monkeypatch.setattr(shard, "decode", lambda *arguments: decoded.append(1) or decode(*arguments))
    assert opened.trial(0).target_images(base)[:, 0, 0, 0].tolist() == list(range(20))
    assert len(decoded) == 1
