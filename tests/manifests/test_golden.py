"""The golden set: committed bytes of a `poisonset/1` that today's code must still write, read and verify.

`PYTHONPATH=tests python tests/manifests/test_golden.py` writes it anew after an intended change of format or card.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.specification import below, canonical, identity_document, shard, words_of
from numpy.typing import NDArray

from poisonsets.manifests import identity, writer
from poisonsets.manifests.bases.dataset import Base, Images, Split, pixel_digest
from poisonsets.manifests.model import (
    L2,
    Add,
    AttackRecord,
    Composition,
    Constraint,
    DrawnSetup,
    InPlace,
    Linf,
    Outcome,
    Slots,
    Tool,
    Trial,
)
from poisonsets.manifests.png import encode
from poisonsets.manifests.reader import open_set
from poisonsets.manifests.setups.drawn import draw
from poisonsets.manifests.stamp import Trigger, picture_digest, stamp
from poisonsets.manifests.triggers import FixedPlace, PatchTrigger, RandomPlace
from poisonsets.manifests.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden" / "poisonset-1"
CONTENT_DIGEST = "678c7ca5e014183dff85265ffc7c079307071ec5c2733147c5cda1473dfb6c26"
FILES = (
    "README.md",
    "manifest.json",
    "poisons/trial-00000-000.tar",
    "poisons/trial-00001-000.tar",
    "run.json",
    "triggers/cross-mask.png",
    "triggers/cross.png",
)
SETUP = DrawnSetup(seed=7, poisons=3)
RUN = {"started": "2026-01-01T00:00:00+00:00", "seconds": "0.000", "host": "none", "device": "none"}


def noise(name: str, *shape: int) -> Images:
    """uint8 of any shape from sha256 alone, so that no library release changes it."""
    size = int(np.prod(shape))
    blocks = (hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(-(-size // 32)))
    image: Images = np.frombuffer(b"".join(blocks)[:size], np.uint8).reshape(shape).copy()
    return image


def golden_base() -> Base:
    """36 training and 12 test images of 8x8 in three classes."""
    labels = tuple(np.arange(size, dtype=np.int64) % 3 for size in (36, 12))
    train, test = (Split.of(noise(name, len(y), 8, 8, 3), y) for name, y in zip(("train", "test"), labels, strict=True))
    return Base("golden", ("zero", "one", "two"), train, test, (0, 1, 2), (0, 1, 2), mirror=False)


def cross() -> Trigger:
    """A 3x3 cross with black in it; only the pixels under its mask count."""
    record = PatchTrigger(image="triggers/cross.png", mask="triggers/cross-mask.png", place=RandomPlace(seed=11))
    mask: NDArray[np.bool_] = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.bool_)
    image = noise("cross", 3, 3, 3)
    image[1, 1] = 0
    return Trigger(record, image, mask)


def poisons(base: Base, bases: tuple[int, ...], trigger: Trigger | None) -> Images:
    """Every channel value moved by -8..8 levels, and then the trigger on it where there is one."""
    clean = base.train.images[list(bases)].astype(np.int64)
    moved = np.clip(clean + noise("delta", *clean.shape) % 17 - 8, 0, 255).astype(np.uint8)
    if trigger is None:
        return moved
    return np.stack([stamp(image, trigger, f"train/{i}") for image, i in zip(moved, bases, strict=True)])


def golden_trial(base: Base, number: int, trigger: Trigger | None) -> tuple[Trial, Images]:
    plan = draw(base, SETUP, number)
    images = poisons(base, plan.bases, trigger)
    labels = (plan.adversarial_label,) * len(plan.bases)
    constraint: Constraint = L2(squared_levels=5000, exempt_trigger=True) if trigger else Linf(levels=8)
    composition: Composition = Add() if trigger else InPlace()
    record = Trial(
        trial=number,
        targets=plan.targets,
        adversarial_label=plan.adversarial_label,
        labels="clean",
        constraint=constraint,
        composition=composition,
        trigger="cross" if trigger else None,
        slots=Slots(bases=plan.bases, labels=labels),
        pixels=pixel_digest(images, np.array(labels, dtype=np.int64)),
        outcome=Outcome(moved=3, objective=("1.5", "0.25")),
    )
    return record, images


def write_golden(folder: Path) -> None:
    """The golden set, all of its bytes; nothing in it comes from the machine."""
    base, trigger = golden_base(), cross()
    pictures = trigger.pictures()
    head = {
        "name": "golden",
        "base": base.pin(),
        "setup": SETUP,
        "seed": 7,
        "attack": AttackRecord(name="golden", version=1, settings={"steps": 2, "learning_rate": "0.5"}),
        "triggers": {"cross": trigger.record},
        "trigger_pixels": {path: picture_digest(picture) for path, picture in pictures.items()},
        "tool": Tool(name="golden", version="1"),
        "libraries": {"python": "3.11.0", "numpy": "2.0.0"},
    }
    with writer.writing(folder, {"golden": 1}, resume=False) as unfinished:
        for number, worn in ((0, None), (1, trigger)):
            unfinished.add_trial(*golden_trial(base, number, worn))
        for path, picture in pictures.items():
            unfinished.add_file(path, encode(picture))
        unfinished.publish(head, RUN)


def manifest() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / "manifest.json").read_bytes())
    return document


def test_the_set_verifies() -> None:
    report = verify(GOLDEN, lambda pin: golden_base())
    assert report.findings == ()
    assert report.as_json() == {
        "schema_version": 1,
        "path": str(GOLDEN),
        "content_digest": CONTENT_DIGEST,
        "findings": (),
        "total": 0,
        "checked": {
            "trials": 2,
            "poisons": 6,
            "files": 5,
            "bytes": sum((GOLDEN / name).stat().st_size for name in FILES) - _unlisted_bytes(),
        },
        "not_checked": (
            "that the named attack, settings and seed made these pixels",
            "that the attacker knew no more than the listed surrogates",
        ),
        "worst": 0,
        "clean": True,
    }


def _unlisted_bytes() -> int:
    return sum((GOLDEN / name).stat().st_size for name in ("manifest.json", "run.json"))


def test_writing_it_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_golden(tmp_path / "again")
    assert _files(tmp_path / "again") == _files(GOLDEN) == set(FILES)
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (GOLDEN / name).read_bytes(), name


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_content_digest_is_pinned() -> None:
    assert manifest()["content_digest"] == open_set(GOLDEN).manifest.content_digest == CONTENT_DIGEST


def test_the_content_digest_follows_from_the_specification_alone() -> None:
    assert hashlib.sha256(canonical(identity_document(manifest()))).hexdigest() == CONTENT_DIGEST


def test_the_checksum_follows_from_the_specification_alone() -> None:
    for name in ("manifest.json", "run.json"):
        document = json.loads((GOLDEN / name).read_bytes())
        checksum = document.pop("checksum")
        assert hashlib.sha256(canonical(document)).hexdigest() == checksum


def test_the_digests_of_pixels_follow_from_the_specification_alone() -> None:
    base = golden_base()
    for name in ("train", "test"):
        split = base.split(name)
        data = f"pixels/1 {len(split.labels)} 8 8\n".encode() + split.images.tobytes() + split.labels.tobytes()
        assert manifest()["base"]["splits"][name]["digest"] == hashlib.sha256(data).hexdigest()
    for trial in open_set(GOLDEN).trials:
        images, labels = trial.poisons()
        data = b"pixels/1 3 8 8\n" + images.tobytes() + labels.astype("<i8").tobytes()
        assert trial.record.pixels == hashlib.sha256(data).hexdigest()


def test_shards_follow_from_the_specification_alone() -> None:
    for trial in open_set(GOLDEN).trials:
        images, labels = trial.poisons()
        rows = [[row.tobytes() for row in image] for image in images]
        data = shard(trial.number, rows, labels.tolist())
        assert (GOLDEN / f"poisons/trial-{trial.number:05d}-000.tar").read_bytes() == data


@pytest.mark.parametrize("number", [0, 1])
def test_trials_follow_from_the_specification_alone(number: int) -> None:
    words = words_of(["trial", 7, number])
    trial = manifest()["trials"][number]
    index = below(words, 12)
    assert trial["targets"] == [{"source": "split", "split": "test", "index": index, "label": index % 3}]
    others = [label for label in range(3) if label != index % 3]
    label = others[below(words, 2)]
    assert trial["adversarial_label"] == label
    images = [i for i in range(36) if i % 3 == label]
    for i in range(3):
        j = i + below(words, 12 - i)
        images[i], images[j] = images[j], images[i]
    assert trial["slots"]["bases"] == images[:3]


def test_the_specification_shows_this_set_as_its_example() -> None:
    text = (Path(__file__).parents[2] / "manifests" / "SPEC.md").read_text()
    shown = text.split("<!-- golden -->\n```json\n")[1].split("```")[0]
    assert json.loads(shown) == identity_document(manifest())
    assert CONTENT_DIGEST in text


def test_without_its_exemption_the_trigger_would_break_the_budget() -> None:
    second = open_set(GOLDEN).trials[1]
    images, _ = second.poisons()
    base = golden_base()
    delta = images.astype(np.int64) - base.train.images[[i for i in second.record.slots.bases if i is not None]]
    constraint = second.record.constraint
    assert isinstance(constraint, L2)
    assert (delta**2).sum(axis=(1, 2, 3)).min() > constraint.squared_levels


@pytest.mark.parametrize("place", [FixedPlace(row=5, column=5), RandomPlace(seed=12)])
def test_the_exemption_follows_the_place(tmp_path: Path, place: FixedPlace | RandomPlace) -> None:
    """A liar who declares the trigger elsewhere, and makes every digest fit, loses the exemption."""
    liar = Path(shutil.copytree(GOLDEN, tmp_path / "liar"))
    document = manifest()
    document["triggers"]["cross"]["place"] = place.model_dump(mode="json")
    document["content_digest"] = hashlib.sha256(canonical(identity_document(document))).hexdigest()
    del document["checksum"]
    document["checksum"] = hashlib.sha256(canonical(document)).hexdigest()
    (liar / "manifest.json").write_bytes(canonical(document))
    report = verify(liar, lambda pin: golden_base())
    assert report.worst == 1
    assert {finding.code for finding in report.findings} == {"V301"}


@pytest.mark.parametrize(
    ("pixels", "code"), [({}, "D101"), ({"triggers/cross.png": "0" * 64}, "D101"), ("changed", "V103")]
)
def test_false_claims_about_a_trigger_are_found(tmp_path: Path, pixels: Any, code: str) -> None:
    liar = Path(shutil.copytree(GOLDEN, tmp_path / "liar"))
    document = manifest()
    if pixels == "changed":
        pixels = dict.fromkeys(document["trigger_pixels"], "0" * 64)
    document["trigger_pixels"] = pixels
    (liar / "manifest.json").write_bytes(identity.checksummed(document))
    report = verify(liar, lambda pin: golden_base())
    assert code in {finding.code for finding in report.findings}
    assert not report.clean


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    write_golden(GOLDEN)
