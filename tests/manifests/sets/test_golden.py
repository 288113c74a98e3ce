"""The golden set: committed bytes of a `poisonset/1` that the code must still write, read and verify.

After an intended change, `PYTHONPATH=tests python tests/manifests/sets/test_golden.py` writes it anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.making import GOLDEN, golden_base, write_golden
from golden.specification import below, canonical, identity_document, shard, words_of

from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.records import identity
from poisonsets.manifests.records.trial import L2
from poisonsets.manifests.records.triggers import FixedPlace, RandomPlace
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.verify import verify

CONTENT_DIGEST = "9ad262b14b731313d7be59ea6dd51982e60a84bd205231efb43cf570f8d2d9f4"
FILES = (
    "README.md",
    "manifest.json",
    "poisons/trial-00000-000.tar",
    "poisons/trial-00001-000.tar",
    "run.json",
    "triggers/cross-mask.png",
    "triggers/cross.png",
)


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
            "bytes": sum((GOLDEN / name).stat().st_size for name in FILES if not name.endswith(".json")),
        },
        "rates": {
            "count": ("3", "3"),
            "class_share": ("3/15", "3/12"),
            "set_share": ("3/39", "3/36"),
            "effective_rate": ("3/39", "3/36"),
        },
        "exempt": (1,),
        "not_checked": (
            "that the named attack, settings and seed made these pixels",
            "that the attacker knew no more than the listed surrogates, and how those were trained",
            "that the seed was not chosen among many, and the words of the card",
        ),
        "worst": 0,
        "hints": 0,
        "figures": {
            "trials": 2,
            "poisons": 6,
            "unknown": 0,
            "moved": 6,
            "largest": {8: 6},
            "distance": ("62.55", "66.34", "69.00"),
            "ssim": ("0.9347", "0.8433"),
            "least_alike": (1, 0),
            "worst": (
                *({"trial": 0, "slot": slot, "used": "8/8"} for slot in range(3)),
                {"trial": 1, "slot": 0, "used": "4399/5000"},
                {"trial": 1, "slot": 2, "used": "4291/5000"},
                {"trial": 1, "slot": 1, "used": "3913/5000"},
            ),
            "trials_beyond": (1,),
        },
        "sample": None,
        "verdicts": {"clean": (0, 1)},
        "plugins": (),
        "counts": (),
        "clean": True,
    }


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


def test_equal_trials_for_victims_of_other_classes_are_another_set() -> None:
    opened = open_set(GOLDEN).manifest
    other = opened.base.model_copy(update={"victim_classes": (0, 1)})
    renamed = opened.base.model_copy(update={"name": "another", "classes": ("a", "b", "c")})
    assert identity.content_digest(opened.model_copy(update={"base": renamed})) == CONTENT_DIGEST
    assert identity.content_digest(opened.model_copy(update={"base": other})) != CONTENT_DIGEST


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
    target = {"kind": "split", "split": "test", "index": index, "label": index % 3, "adversarial_label": None}
    assert trial["targets"] == [target]
    others = [label for label in range(3) if label != index % 3]
    label = others[below(words, 2)]
    assert trial["adversarial_label"] == label
    images = [i for i in range(36) if i % 3 == label]
    for i in range(3):
        j = i + below(words, 12 - i)
        images[i], images[j] = images[j], images[i]
    assert trial["slots"]["bases"] == images[:3]


def test_the_specification_shows_this_set_as_its_example() -> None:
    text = (Path(__file__).parents[3] / "manifests" / "SPEC.md").read_text()
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
    """Declaring the trigger elsewhere, with matching digests, loses the exemption."""
    liar = Path(shutil.copytree(GOLDEN, tmp_path / "liar"))
    document = manifest()
    document["triggers"]["cross"]["place"] = place.model_dump(mode="json")
    document["content_digest"] = hashlib.sha256(canonical(identity_document(document))).hexdigest()
    (liar / "manifest.json").write_bytes(canonical_json.checksummed(document))
    report = verify(liar, lambda pin: golden_base())
    assert report.worst == 1
    assert {finding.code for finding in report.findings} == {"V301", "V302"}


@pytest.mark.parametrize(
    ("pixels", "code"), [({}, "D101"), ({"triggers/cross.png": "0" * 64}, "D101"), ("changed", "V103")]
)
def test_v103_false_claims_about_a_trigger_are_found(tmp_path: Path, pixels: Any, code: str) -> None:
    liar = Path(shutil.copytree(GOLDEN, tmp_path / "liar"))
    document = manifest()
    if pixels == "changed":
        pixels = dict.fromkeys(document["trigger_pixels"], "0" * 64)
    document["trigger_pixels"] = pixels
    (liar / "manifest.json").write_bytes(canonical_json.checksummed(document))
    report = verify(liar, lambda pin: golden_base())
    assert code in {finding.code for finding in report.findings}
    assert not report.clean


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    write_golden(GOLDEN)
