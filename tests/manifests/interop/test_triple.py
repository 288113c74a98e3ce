"""The benchmark's triples: every variant is read, what is wrong is told by trial, nothing is half written."""

from __future__ import annotations

import os
import pickle  # writes fixtures; the project itself never imports it
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forge import check
from triples import Import, dumped, moved, picture, triple

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.records.trial import FileTarget, Linf, SplitTarget
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.trials.published import open_setup

LABELS: dict[str, Any] = {
    "int": int,
    "numpy": np.int64,
    "tensor": lambda label: torch.tensor(label),
    "uint8 array": lambda label: np.array([label], dtype=np.uint8),
}
INDICES: dict[str, Any] = {
    "array": np.array,
    "list": list,
    "tensor": torch.tensor,
    "int32": lambda bases: np.array(bases, dtype=np.int32),
}


def of_class(base: Base, label: int, count: int = 4) -> list[int]:
    return np.flatnonzero(base.train.labels == label)[:count].tolist()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["memory", "PNG"])
def test_every_protocol_and_image_class_gives_the_same_set(
    tmp_path: Path, base: Base, importing: Import, protocol: int, kind: str
) -> None:
    bases = of_class(base, 0)
    images = moved(base, bases)
    poisons = [(picture(image, kind), 0) for image in images]
    triple(tmp_path / "7", base, bases=bases, poisons=poisons, protocol=protocol)
    done = importing(tmp_path / "7")
    assert (done.format, done.trials, done.findings, done.worst) == ("triple", (7,), (), 0)
    (trial,) = open_set(tmp_path / "set").trials
    assert np.array_equal(trial.poisons()[0], images)
    assert trial.record.slots.bases == tuple(bases)
    assert trial.record.targets[0] == SplitTarget(split="test", index=trial.record.targets[0].index, label=1)
    assert check(tmp_path / "set", base).clean


def test_images_from_jpeg_files_are_read(tmp_path: Path, base: Base, importing: Import) -> None:
    bases = of_class(base, 0)
    poisons = [(picture(base.train.images[index], "JPEG"), 0) for index in bases]
    assert b"JpegImageFile" in pickle.dumps(poisons)
    triple(tmp_path / "t", base, bases=bases, poisons=poisons)
    importing(tmp_path / "t", constraint=Linf(levels=255))
    found = open_set(tmp_path / "set").trials[0].poisons()[0]
    assert all(np.array_equal(one, np.asarray(shown)) for one, (shown, _) in zip(found, poisons, strict=True))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("indices", INDICES)
def test_labels_and_indices_in_every_type(
    tmp_path: Path, base: Base, importing: Import, labels: str, indices: str
) -> None:
    bases, made = of_class(base, 2), LABELS[labels]
    poisons = [(picture(image), made(2)) for image in moved(base, bases)]
    target = (picture(base.test.images[0]), made(int(base.test.labels[0])))
    folder = triple(tmp_path / "t", base, bases=bases, poisons=poisons, indices=INDICES[indices](bases), target=target)
    importing(folder)
    record = open_set(tmp_path / "set").manifest.trials[0]
    assert record.slots.bases == tuple(bases)
    assert record.slots.labels == (2,) * 4
    assert record.targets == (SplitTarget(split="test", index=0, label=int(base.test.labels[0])),)


def test_poisons_as_tensors_have_their_unit_found_out(tmp_path: Path, base: Base, importing: Import) -> None:
    bases = of_class(base, 0)
    images = moved(base, bases)
    poisons = [(torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255, 0) for image in images]
    importing(triple(tmp_path / "t", base, bases=bases, poisons=poisons))
    assert np.array_equal(open_set(tmp_path / "set").trials[0].poisons()[0], images)


def test_f11_a_bare_altered_target_has_the_label_of_the_image_that_is_named(
    tmp_path: Path, base: Base, importing: Import
) -> None:
    strange, label = 255 - base.test.images[5], int(base.test.labels[5])
    bases = of_class(base, (label + 1) % 3)
    folder = triple(tmp_path / "t", base, bases=bases, target=picture(strange))
    (refused,) = importing(folder).findings
    assert "no test image and has no label" in refused.message
    assert "--target" in refused.remedy
    (outside,) = importing(folder, target=10**6).findings
    assert outside.code == "V705"
    assert importing(folder, target=5).worst == 0
    (target,) = open_set(tmp_path / "set").trials[0].record.targets
    assert target.label == label


def test_h703_targets_of_every_kind(tmp_path: Path, base: Base, importing: Import) -> None:
    """Itself, bare, a level lower, and no image of the base at all; each says so once."""
    image, label = base.test.images[5], int(base.test.labels[5])
    lower = image - (image > 100).astype(np.uint8)
    strange = 255 - image
    for number, target in enumerate(
        [(picture(image), label), picture(image), (picture(lower), label), (picture(strange), label)]
    ):
        bases = of_class(base, (label + 1) % 3)
        triple(tmp_path / "all" / str(number), base, bases=bases, target=target)
    done = importing(tmp_path / "all")
    assert [one.line() for one in done.findings] == [
        "H703 trial 1 target.pickle: a bare image without a label",
        "H703 trial 2: its target is a test image with values one level lower (published code truncates): it keeps its "
        "own pixels",
        "H703 trial 3: its target is no test image of the base; it keeps its own pixels",
    ]
    opened = open_set(tmp_path / "set")
    own = [trial.target_images(base)[0] for trial in opened.trials]
    assert all(np.array_equal(*pair) for pair in zip(own, [image, image, lower, strange], strict=True))
    kinds = [type(trial.record.targets[0]) for trial in opened.trials]
    assert kinds == [SplitTarget, SplitTarget, FileTarget, FileTarget]
    assert check(tmp_path / "set", base).clean


@pytest.mark.parametrize("made", [torch.tensor, np.array])
def test_a_backdoor_has_its_patch_at_its_place(tmp_path: Path, base: Base, importing: Import, made: Any) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    values = levels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    label = int(base.test.labels[5])
    target = (picture(base.test.images[5]), label, made(values), [4, 2])
    for number in (0, 1):
        triple(tmp_path / "all" / str(number), base, bases=of_class(base, (label + 1) % 3), target=target)
    done = importing(tmp_path / "all")
    assert done.findings == ()
    trial = open_set(tmp_path / "set").trials[1]
    assert trial.record.source_classes == (label,)
    wanted = base.test.images[5].copy()
    wanted[2:5, 4:7] = levels
    assert np.array_equal(trial.target_images(base)[0], wanted)
    assert len(open_set(tmp_path / "set").manifest.triggers) == 1
    assert check(tmp_path / "set", base).clean


def test_the_pixels_under_the_patch_are_exempt_where_it_is_said(tmp_path: Path, base: Base, importing: Import) -> None:
    levels = np.full((3, 3, 3), 255, np.uint8)
    bases = of_class(base, 0)
    images = moved(base, bases)
    images[:, 2:5, 4:7] = levels
    target = (picture(base.test.images[0]), int(base.test.labels[0]), np.ones((3, 3, 3), np.float32), [4, 2])
    if int(base.test.labels[0]) == 0:
        pytest.skip("the target must be of another class")
    folder = triple(tmp_path / "t", base, bases=bases, poisons=[(picture(one), 0) for one in images], target=target)
    importing(folder, constraint=Linf(levels=8, exempt_trigger=True))
    assert check(tmp_path / "set", base).clean


def test_sleeper_agents_source(tmp_path: Path, base: Base, importing: Import) -> None:
    folder = triple(tmp_path / "t", base)
    (folder / "target.pickle").rename(folder / "source.pickle")
    done = importing(folder)
    assert [one.code for one in done.findings] == ["H703"]
    assert "names no patch" in done.findings[0].message
    assert open_set(tmp_path / "set").manifest.trials[0].source_classes == ()


def test_h705_norms_beside_the_poisons_are_counted_and_no_more(tmp_path: Path, base: Base, importing: Import) -> None:
    folder = triple(tmp_path / "t", base)
    dumped(folder / "perturbation_norms.pickle", [0.03] * 3)
    done = importing(folder)
    assert [one.line() for one in done.findings] == ["H705 trial 0 perturbation_norms.pickle: 3 values for 4 poisons"]


def hundred(folder: Path, base: Base, count: int = 12) -> Path:
    """Sound trials but for a few: a poison too few, a budget broken, a wrong label, an attack, a missing file."""
    for number in range(count):
        triple(folder / str(number), base, levels=9 if number in (1, 2) else 5)
    for number in (3, 7, 8, 9):
        short = [(picture(image), 0) for image in moved(base, of_class(base, 0, 3))]
        triple(folder / str(number), base, poisons=short)
    dumped(folder / "5" / "base_indices.pickle", [1000, 1, 2, 3])
    (folder / "6" / "target.pickle").write_bytes(b"\x80\x04cos\nsystem\n.")
    (folder / "10" / "base_indices.pickle").unlink()
    return folder


def test_a_folder_of_triples_is_told_on_one_screen(tmp_path: Path, base: Base, importing: Import) -> None:
    done = importing(hundred(tmp_path / "all", base))
    assert [one.line() for one in done.findings] == [
        "D701 trial 6: target.pickle: pickle opcode GLOBAL at byte 2: the global os.system is not allowed. Only plain "
        "lists, dicts, numbers and numpy arrays are read; nothing in it was executed",
        "D701 trial 10: base_indices.pickle: no such file",
        "V701 trial 3: 3 poisons for 4 base indices",
        "V701 trial 5: base index 1000 is outside 0-35 of small",
        *(f"V701 trial {number}: 3 poisons for 4 base indices" for number in (7, 8, 9)),
    ]
    assert [(one.code, one.count, one.trials) for one in done.by_code] == [
        ("D701", 2, (6, 10)),
        ("V701", 5, (3, 5, 7, 8, 9)),
    ]
    assert (done.kept_out, done.content_digest, done.worst) == ((3, 5, 6, 7, 8, 9, 10), None, 3)
    assert not [path.name for path in tmp_path.iterdir() if path.name != "all"]


def test_the_sound_ones_can_be_had_alone_and_are_then_judged(tmp_path: Path, base: Base, importing: Import) -> None:
    done = importing(hundred(tmp_path / "all", base), skip_bad=True)
    assert (done.trials, done.worst) == ((0, 1, 2, 4, 11), 1)
    findings = [finding for finding in check(tmp_path / "set", base).findings if finding.kind != "hint"]
    assert {finding.code for finding in findings} == {"V301"}
    assert {finding.place.split()[1] for finding in findings} == {"1", "2"}
    assert "moved 9 levels, budget 8" in findings[0].message


def test_v701_one_bad_trial_keeps_all_out_with_1_where_nothing_is_damaged(
    tmp_path: Path, base: Base, importing: Import
) -> None:
    triple(tmp_path / "all" / "0", base)
    triple(tmp_path / "all" / "1", base, indices=[1, 2])
    done = importing(tmp_path / "all")
    assert (done.worst, [one.code for one in done.findings]) == (1, ["V701"])
    assert not (tmp_path / "set").exists()
    assert importing(tmp_path / "all", only=(0,)).worst == 0


def test_v702_bases_and_targets_are_those_of_the_setup(tmp_path: Path, base: Base, importing: Import) -> None:
    bases = [of_class(base, 0), of_class(base, 0)[::-1]]
    index = int(np.flatnonzero(base.test.labels == 1)[0])
    other = int(np.flatnonzero(base.test.labels == 1)[1])
    entries = [
        {"target class": 1, "target index": index, "base class": 0, "base indices": np.array(one)} for one in bases
    ]
    setup = open_setup(str(dumped(tmp_path / "setup.pickle", [*entries, entries[0], entries[0]])))
    triple(tmp_path / "all" / "0", base, bases=bases[0])
    triple(tmp_path / "all" / "1", base, bases=bases[0])  # the setup's bases in another order
    triple(tmp_path / "all" / "2", base, bases=of_class(base, 0, 5)[1:])
    triple(tmp_path / "all" / "3", base, target=(picture(base.test.images[other]), 1))
    triple(tmp_path / "all" / "4", base)
    done = importing(tmp_path / "all", setup=setup)
    assert {one.trial: one.message for one in done.findings} == {
        2: "its bases are not those of the setup: 3 of 4 are",
        3: "its target is not the setup's test image",
        4: "the setup setup.pickle has no such trial of this base: is outside 0-3",
    }
    assert importing(tmp_path / "all", setup=setup, skip_bad=True).trials == (0, 1)
    assert open_set(tmp_path / "set").manifest.setup.model_dump()["name"] == "triple: all, setup setup.pickle"


BAD: dict[str, tuple[Any, str]] = {
    "no list": ({"poisons": 1}, "not a list of poisons"),
    "empty": ([], "not a list of poisons"),
    "three of a kind": ([(1, 2, 3)], "not an image and a label"),
    "no image": ([("image", 0)], "not an image and a label"),
    "label of text": (lambda image: [(image, "cat")], "a value of type str where an integer"),
    "label of truth": (lambda image: [(image, True)], "a value of type bool where an integer"),
    "two labels": (lambda image: [(image, np.array([0, 1]))], "where an integer was expected"),
    "grey": (lambda image: [(image.convert("L"), 0)], "an image of mode L"),
    "palette": (lambda image: [(image.convert("P"), 0)], "mode P"),
    "sizes": (lambda image: [(image, 0), (image.resize((4, 4)), 0)], "different sizes"),
    "v704 class": (lambda image: [(image, 3)] * 4, "a poison's label is 3"),
    "v703 size of the base": (lambda image: [(image.resize((4, 4)), 0)] * 4, "images of 4x4 pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_poisons_that_are_none(tmp_path: Path, base: Base, importing: Import, name: str) -> None:
    made, message = BAD[name]
    poisons = made(picture(base.train.images[0])) if callable(made) else made
    done = importing(triple(tmp_path / "t", base, poisons=poisons))
    assert message in done.findings[0].message
    assert done.worst in (1, 3)
    assert not (tmp_path / "set").exists()


BAD_TARGETS: dict[str, tuple[Any, str]] = {
    "three": (lambda image: (image, 1, np.ones((3, 2, 2), np.float32)), "not an image and a label"),
    "patch of levels": (lambda image: (image, 1, np.full((3, 2, 2), 200), [0, 0]), "values from 200 to 200"),
    "patch of nothing": (lambda image: (image, 1, np.full((3, 2, 2), np.nan), [0, 0]), "finite"),
    "v703 patch outside": (lambda image: (image, 1, np.ones((3, 2, 2)), [7, 0]), "leaves the"),
    "patch before": (lambda image: (image, 1, np.ones((3, 2, 2)), [-1, 0]), "a patch at column -1"),
    "v704 class": (lambda image: (image, 9), "the target's label is 9"),
    "text": (lambda image: "target", "not an image and a label"),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_targets_that_are_none(tmp_path: Path, base: Base, importing: Import, name: str) -> None:
    made, message = BAD_TARGETS[name]
    done = importing(triple(tmp_path / "t", base, target=made(picture(base.test.images[0]))))
    assert message in done.findings[0].message
    assert not (tmp_path / "set").exists()


class Runs:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("name", ["poisons", "base_indices", "target"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_d701_attacks_in_any_of_the_files_are_told_and_not_run(
    tmp_path: Path, base: Base, importing: Import, name: str, protocol: int
) -> None:
    folder = triple(tmp_path / "t", base)
    dumped(folder / f"{name}.pickle", [(Runs(tmp_path / "ran"), 0)], protocol)
    done = importing(folder)
    assert "system is not allowed" in done.findings[0].message
    assert (done.worst, done.findings[0].kind) == (3, "damage")
    assert not (tmp_path / "ran").exists()


def test_one_image_at_many_places_is_a_bomb(tmp_path: Path, base: Base, importing: Import) -> None:
    image = picture(base.train.images[0])
    done = importing(triple(tmp_path / "t", base, poisons=[(image, 0)] * 50_000))
    assert "poisons in a file of" in done.findings[0].message


def test_links_and_other_things_in_the_place_of_files(tmp_path: Path, base: Base, importing: Import) -> None:
    for number in (0, 1, 2):
        triple(tmp_path / "all" / str(number), base)
    (tmp_path / "all" / "0" / "target.pickle").unlink()
    (tmp_path / "all" / "0" / "target.pickle").symlink_to(tmp_path / "all" / "2" / "target.pickle")
    (tmp_path / "all" / "1" / "base_indices.pickle").unlink()
    os.mkfifo(tmp_path / "all" / "1" / "base_indices.pickle")
    done = importing(tmp_path / "all")
    assert {one.trial: one.kind for one in done.findings} == {0: "damage", 1: "damage"}


def test_two_folders_of_one_number_and_numbers_that_are_not_there(
    tmp_path: Path, base: Base, importing: Import
) -> None:
    triple(tmp_path / "all" / "1", base)
    with pytest.raises(UsageError, match="there is no trial 4"):
        importing(tmp_path / "all", only=(1, 4))
    with pytest.raises(UsageError, match="Leave out --number"):
        importing(tmp_path / "all", number=3)
    assert importing(tmp_path / "all" / "1", number=3).trials == (3,)
    triple(tmp_path / "all" / "01", base)
    with pytest.raises(UsageError, match="are both trial 1"):
        importing(tmp_path / "all", "triple")
    with pytest.raises(MissingError, match="no such file or folder"):
        importing(tmp_path / "nothing")


def test_a_killed_import_is_begun_again_and_another_commands_is_left_alone(
    tmp_path: Path, base: Base, importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poisonsets.manifests.sets import writer

    triple(tmp_path / "all" / "0", base)
    with monkeypatch.context() as patch:
        patch.setattr(writer.SetWriter, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            importing(tmp_path / "all")
    assert (tmp_path / "set.partial").exists()
    with pytest.raises(MissingError, match=r"of another command \(attack name is unknown, now another\)") as caught:
        importing(tmp_path / "all", attack="another")
    assert caught.value.remedy == "Remove set.partial"
    assert importing(tmp_path / "all").worst == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "set"]


def test_what_an_import_killed_after_its_rename_left_is_told_how_to_remove(
    tmp_path: Path, base: Base, importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    triple(tmp_path / "all" / "0", base)
    move = store.move_folder
    with monkeypatch.context() as patch:

        def killed(folder: Path, final: Path) -> None:
            move(folder, final)
            raise KeyboardInterrupt

        patch.setattr(store, "move_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            importing(tmp_path / "all")
    with pytest.raises(MissingError, match="not empty"):
        importing(tmp_path / "all", attack="another")
    (tmp_path / "set").rename(tmp_path / "first")
    with pytest.raises(MissingError) as caught:
        importing(tmp_path / "all", attack="another")
    assert caught.value.remedy == "Remove set.partial"
    shutil.rmtree(tmp_path / "set.partial")
    assert importing(tmp_path / "all", attack="another").worst == 0


def test_equal_files_give_equal_bytes_but_for_the_run(tmp_path: Path, base: Base, importing: Import) -> None:
    triple(tmp_path / "0", base)
    importing(tmp_path / "0")
    first = {path.name: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    (tmp_path / "set").rename(tmp_path / "before")
    importing(tmp_path / "0")
    again = {path.name: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    assert first == again


def test_a_base_of_another_size_is_said(tmp_path: Path, base: Base, importing: Import) -> None:
    from forge import small_base

    done = importing(triple(tmp_path / "t", base), against=replace(small_base(side=16), name="large"))
    assert done.findings[0].message == "images of 8x8 pixels, those of large have 16x16"
