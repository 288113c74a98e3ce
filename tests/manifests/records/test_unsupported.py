"""Readers, verify and writer refuse, by place and name, what the format can say and no reader here supports."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden.making import GOLDEN, RUN, golden_base, golden_trial
from golden.specification import canonical, identity_document

from poisonsets.manifests.errors import UnsupportedError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.records import identity
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.unsupported import refuse_unsupported
from poisonsets.manifests.sets import writer
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.verify import verify

Edit = Callable[[dict[str, Any]], Any]


def target_label(document: dict[str, Any]) -> None:
    document["trials"][0]["targets"][0]["adversarial_label"] = 2


def cover(document: dict[str, Any]) -> None:
    document["trials"][1]["slots"]["cover"] = [0, 2]


def magnified(document: dict[str, Any]) -> None:
    document["triggers"]["magnified"] = {**document["triggers"]["cross"], "place": {"rule": "random", "seed": 12}}
    document["trials"][1]["test_trigger"] = "magnified"


def warp(document: dict[str, Any]) -> None:
    document["triggers"]["cross"] = {"kind": "warp", "grid": 4, "strength": "0.5", "seed": 3}
    document["trigger_pixels"] = {}
    document["trials"][1]["constraint"] = {"norm": "none"}


def additive(document: dict[str, Any]) -> None:
    document["triggers"]["cross"] = {"kind": "additive", "image": "triggers/cross.png"}
    del document["trigger_pixels"]["triggers/cross-mask.png"]
    document["trials"][1]["constraint"] = {"norm": "none"}


def shard_of_two(document: dict[str, Any]) -> None:
    document["shards"] = [{"path": "poisons/trial-00000-000.tar", "trials": [0, 1], "samples": 6}]


UNSUPPORTED: dict[Edit, str] = {
    target_label: r"manifest.json: trial 0: an adversarial label of its own \(2\) at target 0",
    cover: r"manifest.json: trial 1: cover rows \(2 slots\)",
    magnified: r"manifest.json: trial 1: another trigger at test time \(magnified\)",
    warp: r"manifest.json: trigger cross: kind warp",
    additive: r"manifest.json: trigger cross: kind additive",
    shard_of_two: r"manifest.json: poisons/trial-00000-000.tar: a shard of 2 trials",
}
EVERY = pytest.mark.parametrize("say", UNSUPPORTED, ids=lambda say: say.__name__)


def said(say: Edit) -> dict[str, Any]:
    """The golden manifest with one value that is not supported."""
    document: dict[str, Any] = json.loads((GOLDEN / "manifest.json").read_bytes())
    say(document)
    document["content_digest"] = hashlib.sha256(canonical(identity_document(document))).hexdigest()
    return document


@pytest.fixture
def folder(tmp_path: Path, say: Edit) -> Path:
    made = Path(shutil.copytree(GOLDEN, tmp_path / "set"))
    (made / "manifest.json").write_bytes(canonical_json.checksummed(said(say)))
    return made


@EVERY
def test_a_reader_refuses_it_by_place_and_name(folder: Path, say: Edit) -> None:
    with pytest.raises(UnsupportedError, match=f"{UNSUPPORTED[say]}: not supported by this version") as refused:
        open_set(folder)
    assert refused.value.exit_code == 3
    assert "`pip install --upgrade poisonsets`" in refused.value.remedy


@EVERY
def test_d107_verify_refuses_it_and_blames_no_disk(folder: Path, say: Edit) -> None:
    report = verify(folder, lambda pin: golden_base())
    assert [(finding.code, finding.place) for finding in report.findings] == [("D107", "manifest.json")]
    assert (report.worst, report.clean) == (3, False)
    assert "Fetch" not in report.findings[0].line()
    assert "upgrade" in report.findings[0].line()


def test_damage_is_found_before_it(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(canonical({**said(cover), "checksum": "0" * 64}))
    assert [finding.code for finding in verify(tmp_path, lambda pin: golden_base()).findings] == ["D101"]


@EVERY
def test_the_content_digest_covers_it_already(say: Edit) -> None:
    """Except for how poisons are divided into shards."""
    manifest = Manifest.model_validate_json(json.dumps(said(say)))
    golden = open_set(GOLDEN).manifest.content_digest
    assert identity.content_digest(manifest) == manifest.content_digest
    assert (manifest.content_digest == golden) == (say is shard_of_two)


def test_what_is_supported_is_not_refused() -> None:
    refuse_unsupported(open_set(GOLDEN).manifest, "here")


def test_a_writer_publishes_no_set_that_its_reader_refuses(tmp_path: Path) -> None:
    golden = open_set(GOLDEN).manifest
    record, images = golden_trial(golden_base(), 0, None)
    head = {key: getattr(golden, key) for key in ("name", "base", "setup", "seed", "attack", "tool", "libraries")}
    covered = record.model_copy(update={"slots": record.slots.model_copy(update={"cover": (1,)})})
    with writer.write_set(tmp_path / "set", {}, resume=False) as unfinished:
        unfinished.add_trial(covered, images)
        with pytest.raises(UnsupportedError, match="cover rows"):
            unfinished.publish(head, RUN)
    assert not (tmp_path / "set").exists()
