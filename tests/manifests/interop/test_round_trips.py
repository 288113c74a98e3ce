"""Every format that is written: what comes back is what went out, but for what the export said it drops."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forge import Draft, check, forge
from triples import Import

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files.pickles import writer
from poisonsets.manifests.files.pixels import image_digest, pixel_digest
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.export_targets import exported_targets
from poisonsets.manifests.interop.exporting.export_set import ExportResult, export_set
from poisonsets.manifests.interop.exporting.losses import FIELDS
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.trial import Linf
from poisonsets.manifests.records.triggers import FixedPlace, PatchTrigger, SineTrigger
from poisonsets.manifests.sets.reader import open_set

WRITTEN = [name for name, one in formats.formats().items() if one.write is not None]
ALWAYS = ("the claims on constraint, labels and composition", "name, setup, seed, attack, settings and surrogates")


def exported(native: Path, base: Base, folder: Path, name: str) -> ExportResult:
    return export_set(folder, open_set(native), base, formats.formats()[name])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_plain_set_comes_back_as_the_same_set(
    tmp_path: Path, base: Base, native: Path, importing: Import, name: str
) -> None:
    done = exported(native, base, tmp_path / "out", name)
    assert done.dropped == ALWAYS
    assert importing(tmp_path / "out").format == name  # sniffed
    ours, theirs = open_set(native).manifest, open_set(tmp_path / "set").manifest
    assert theirs.content_digest == ours.content_digest
    assert check(tmp_path / "set", base).clean


@pytest.mark.parametrize("name", WRITTEN)
def test_equal_sets_give_equal_bytes(tmp_path: Path, base: Base, native: Path, name: str) -> None:
    for folder in ("one", "two"):
        exported(native, base, tmp_path / folder, name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert b"Never train a model" in contents(tmp_path / "one")["README.md"]


def lying(draft: Draft) -> None:
    """A poison past its budget, one with a dirty label, and the target itself among the poisons."""
    trial = draft.trial(0)
    draft.images[0][1][2, 3, 1] ^= 128
    wrong = (trial["slots"]["labels"][2] + 1) % 3
    trial["slots"]["labels"][2] = draft.labels[0][2] = wrong
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    trial["outcome"] = draft.trial(1)["outcome"] = None


@pytest.mark.parametrize("name", WRITTEN)
def test_the_findings_come_back_too(tmp_path: Path, base: Base, native: Path, importing: Import, name: str) -> None:
    forged = forge(native, tmp_path / "forged", lying)
    before = check(forged, base)
    assert {finding.code for finding in before.findings if finding.kind != "hint"} == {"V301", "V402"}
    exported(forged, base, tmp_path / "out", name)
    importing(tmp_path / "out", adversarial_label=open_set(forged).manifest.trials[0].adversarial_label, only=(0,))
    after = check(tmp_path / "set", base)
    assert [one.line() for one in after.findings] == [one.line() for one in before.findings]


PATCH = np.random.default_rng(4).integers(0, 256, (3, 3, 3), dtype=np.uint8)


def with_trigger(draft: Draft, trigger: Trigger) -> None:
    """Both trials are backdoors of the target's class; poisons are as they are."""
    from poisonsets.manifests.files import png

    draft.manifest["triggers"] = {"trigger": trigger.record.model_dump(mode="json")}
    draft.manifest["trigger_pixels"] = {path: image_digest(one) for path, one in trigger.pictures().items()}
    draft.extra.update({path: png.encode(one) for path, one in trigger.pictures().items()})
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    for trial in draft.manifest["trials"]:
        trial["trigger"], trial["source_classes"] = "trigger", [trial["targets"][0]["label"]]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("kind", ["patch", "sine"])
def test_targets_show_the_trigger_whatever_a_format_can_say(
    tmp_path: Path, base: Base, native: Path, importing: Import, name: str, kind: str
) -> None:
    patch = Trigger(PatchTrigger(image="triggers/a.png", place=FixedPlace(row=1, column=4)), PATCH)
    sine = Trigger(SineTrigger(amplitude="0.5", frequency="2", alpha="0.5"))
    trigger = patch if kind == "patch" else sine
    forged = forge(native, tmp_path / "forged", lambda draft: with_trigger(draft, trigger))
    assert check(forged, base).clean
    done = exported(forged, base, tmp_path / "out", name)
    carried = {"patch": {"triple", "webdataset"}, "sine": {"webdataset"}}[kind]
    assert ("the trigger (targets have it on)" in done.dropped) == (name not in carried)
    importing(tmp_path / "out")
    theirs = open_set(tmp_path / "set")
    for ours, trial in zip(open_set(forged).trials, theirs.trials, strict=True):
        assert np.array_equal(ours.target_images(base), trial.target_images(base))
        assert (trial.record.trigger is not None) == (name in carried)
    assert (theirs.manifest.content_digest == open_set(forged).manifest.content_digest) == (name in carried)
    assert check(tmp_path / "set", base).clean


def with_own_target(draft: Draft) -> None:
    from poisonsets.manifests.sets import shard

    image = np.random.default_rng(9).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    label = (draft.trial(0)["adversarial_label"] + 1) % 3
    draft.manifest["setup"] = {"kind": "foreign", "name": "x"}
    digest = pixel_digest(image, np.array([label]))
    own = {"kind": "file", "key": "00000-00000000", "label": label, "adversarial_label": None, "pixels": digest}
    draft.trial(0)["targets"] = [own]
    draft.trial(0)["slots"]["bases"][3] = None
    draft.trial(0)["outcome"] = None
    draft.extra["targets.tar"] = shard.encode(0, 0, image, np.array([label], dtype=np.int64))


@pytest.mark.parametrize("name", WRITTEN)
def test_targets_of_their_own_and_unknown_bases(
    tmp_path: Path, base: Base, native: Path, importing: Import, name: str
) -> None:
    forged = forge(native, tmp_path / "forged", with_own_target)
    if name == "triple":
        with pytest.raises(UsageError, match="trial 0: a poison of an unknown base"):
            exported(forged, base, tmp_path / "out", name)
        assert not [one.name for one in tmp_path.iterdir() if one.name != "forged"]
        return
    done = exported(forged, base, tmp_path / "out", name)
    assert ("targets with pixels of their own" in done.dropped) == (name == "webdataset")
    importing(tmp_path / "out", target=0 if name == "webdataset" else None)
    theirs = open_set(tmp_path / "set").manifest.trials[0]
    assert theirs.slots == open_set(forged).manifest.trials[0].slots
    if name != "webdataset":
        assert theirs.targets == open_set(forged).manifest.trials[0].targets


@pytest.mark.parametrize("name", WRITTEN)
def test_an_adversarial_label_that_no_poison_has_is_carried_or_told(
    tmp_path: Path, base: Base, native: Path, name: str
) -> None:
    def other(draft: Draft) -> None:
        trial = draft.trial(0)
        (label,) = {0, 1, 2} - {trial["adversarial_label"], trial["targets"][0]["label"]}
        trial["adversarial_label"] = label
        draft.manifest["setup"] = {"kind": "foreign", "name": "x"}

    forged = forge(native, tmp_path / "forged", other)
    assert len(set(open_set(forged).manifest.trials[0].slots.labels)) == 1
    done = exported(forged, base, tmp_path / "out", name)
    told = any(one.startswith("the adversarial label") for one in done.dropped)
    assert told == (name == "triple")


def test_what_a_format_carries_is_spelled_as_the_fields_are() -> None:
    for one in formats.formats().values():
        assert one.carries <= set(FIELDS), one.name
        assert one.write is not None or not one.carries, one.name


READS = """
import pickle, sys, hashlib, json
import numpy as np
found = []
for number in (0, 1):
    load = lambda name: pickle.load(open(f"{sys.argv[1]}/{number}/{name}.pickle", "rb"))
    poisons, bases, target = load("poisons"), load("base_indices"), load("target")
    assert type(poisons) is list and type(poisons[0]) is tuple and type(poisons[0][1]) is int
    assert type(poisons[0][0]).__module__ == "PIL.Image" and poisons[0][0].mode == "RGB"
    assert bases.dtype == np.int64 and bases.ndim == 1
    entry = {
        "pixels": [np.asarray(image).tobytes().hex() for image, _ in poisons],
        "labels": [label for _, label in poisons],
        "bases": bases.tolist(),
        "target": np.asarray(target[0]).tobytes().hex(),
        "label": target[1],
    }
    if len(target) == 4:  # as the benchmark's evaluator stamps it
        patch, (x, y) = target[2], target[3]
        shown = np.asarray(target[0]).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        shown[:, y:y + patch.shape[1], x:x + patch.shape[2]] = patch
        entry["stamped"] = (shown * np.float32(255)).astype(np.uint8).transpose(1, 2, 0).tobytes().hex()
    found.append(entry)
print(json.dumps(found))
"""


def unpickled(folder: Path) -> Any:
    """What the real unpickler and Pillow make of an export, in a process of their own."""
    command = [sys.executable, "-W", "error", "-c", READS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("backdoor", [False, True])
def test_the_real_unpickler_reads_a_triple(tmp_path: Path, base: Base, native: Path, backdoor: bool) -> None:
    patch = Trigger(PatchTrigger(image="triggers/a.png", place=FixedPlace(row=1, column=4)), PATCH)
    source = forge(native, tmp_path / "forged", lambda draft: with_trigger(draft, patch)) if backdoor else native
    exported(source, base, tmp_path / "out", "triple")
    opened = open_set(source)
    for trial, found in zip(opened.trials, unpickled(tmp_path / "out"), strict=True):
        images, labels = trial.poisons()
        (target,) = exported_targets(trial, base)
        assert found["pixels"] == [image.tobytes().hex() for image in images]
        assert (found["labels"], found["bases"]) == (labels.tolist(), list(trial.record.slots.bases))
        assert (found["target"], found["label"]) == (target.plain.tobytes().hex(), target.label)
        assert found.get("stamped") == (target.stamped.tobytes().hex() if backdoor else None)


def test_every_level_of_a_patch_survives_cutting() -> None:
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    assert ((levels * np.float32(255)).astype(np.uint8) == np.arange(256)).all()


def test_the_opcode_writer_says_what_it_is_given() -> None:
    from poisonsets.manifests.files.pickles import interpreter

    value = [None, True, False, 0, 255, 256, -1, 2**31, -(2**63), 2**63 - 1, "é", b"\x00" * 300, ([], ()), [[1], (2,)]]
    assert interpreter.load(writer.dumps(value), "x") == value
    for dtype in ("<i8", ">i4", "u1", "<f4", "f8", "?"):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        found = interpreter.load(writer.dumps(array), "x")
        assert np.array_equal(found, array)
    with pytest.raises(TypeError):
        writer.dumps({1: 2})


def test_an_export_is_complete_or_absent(
    tmp_path: Path, base: Base, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poisonsets.manifests.files import store

    files = exported(native, base, tmp_path / "whole", "triple").files
    real, calls = store.write_file, 0
    for fault in (OSError(28, "No space left on device"), KeyboardInterrupt()):
        for last in range(files):
            calls = 0

            def write(path: Path, data: bytes, last: int = last, fault: BaseException = fault) -> None:
                nonlocal calls
                calls += 1
                if calls > last:
                    with store.refusals(path):
                        raise fault
                real(path, data)

            with monkeypatch.context() as patch:
                patch.setattr(store, "write_file", write)
                with pytest.raises((PoisonsetsError, KeyboardInterrupt)):
                    exported(native, base, tmp_path / "out", "triple")
            assert not [one.name for one in tmp_path.iterdir() if one.name != "whole"]


def test_what_a_killed_export_left_is_removed_and_what_others_left_is_not(
    tmp_path: Path, base: Base, native: Path
) -> None:
    (tmp_path / "out.partial" / "export" / "0").mkdir(parents=True)
    (tmp_path / "out.partial" / "export" / "0" / "stale").write_text("x")
    exported(native, base, tmp_path / "out", "numpy")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out"]
    assert not (tmp_path / "out" / "0" / "stale").exists()
    with pytest.raises(MissingError, match="not empty"):
        exported(native, base, tmp_path / "out", "numpy")
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "thesis.txt").write_text("x")
    with pytest.raises(MissingError, match="not an export that was interrupted"):
        exported(native, base, tmp_path / "new", "numpy")
    assert (tmp_path / "new.partial" / "thesis.txt").exists()


def test_budgets_are_declared_anew(tmp_path: Path, base: Base, native: Path, importing: Import) -> None:
    exported(native, base, tmp_path / "out", "hdf5")
    importing(tmp_path / "out", constraint=Linf(levels=7))
    assert {one.code for one in check(tmp_path / "set", base).findings if one.kind != "hint"} == {"V301"}
