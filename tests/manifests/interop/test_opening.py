"""The one door: our own sets pass through, known formats are imported for a while, all else is left to the reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from forge import check
from triples import triple

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError, ViolationError
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.open_any import open_any
from poisonsets.manifests.records.trial import Linf
from poisonsets.manifests.spelling import command


def test_our_own_sets_and_strange_things_pass_through(tmp_path: Path, native: Path) -> None:
    (tmp_path / "folder" / "17").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"x" * 100)
    for path in (native, tmp_path / "folder", tmp_path / "file", tmp_path / "nothing"):
        with open_any(path, None) as found:
            assert (found.path, found.notes) == (path, ())


def test_a_foreign_set_is_judged_as_anyones_and_then_gone(tmp_path: Path, base: Base) -> None:
    triple(tmp_path / "all" / "0", base)
    triple(tmp_path / "all" / "1", base, levels=9)
    typed = command("import", "triple", tmp_path / "all", "--base", base.name, "-o", "imported")
    with open_any(tmp_path / "all", lambda: base) as found:
        place = found.path
        assert found.notes == (
            f"{tmp_path / 'all'}: a set of the format triple, imported for this; assumed: epsilon 8, clean labels, "
            f"composition in-place ({typed} takes other claims)",
        )
        bad = [one for one in check(found.path, base).findings if one.kind != "hint"]
        assert {one.place.split()[1] for one in bad} == {"1"}
    assert not place.exists()
    with open_any(tmp_path / "all", lambda: base, Claims(constraint=Linf(levels=9))) as found:
        assert check(found.path, base).clean


def test_without_a_base_or_with_bad_trials_it_says_so(tmp_path: Path, base: Base) -> None:
    triple(tmp_path / "all" / "0", base)
    with (
        pytest.raises(UsageError, match=r"a set of the format triple, which names no base\. Give --base"),
        open_any(tmp_path / "all", None),
    ):
        pass
    triple(tmp_path / "all" / "1", base, indices=[1])
    with (
        pytest.raises(ViolationError, match="1 trials cannot be imported: V701 trial 1: 4 poisons for 1 base"),
        open_any(tmp_path / "all", lambda: base),
    ):
        pass
    (tmp_path / "all" / "0" / "poisons.pickle").write_bytes(b"x")
    with (
        pytest.raises(DamagedError, match=r"2 trials cannot be imported: D701 trial 0: .*, and 1 more"),
        open_any(tmp_path / "all", lambda: base),
    ):
        pass


def test_what_to_do_about_an_open_unit_or_target_is_to_import(tmp_path: Path, base: Base) -> None:
    np.savez(tmp_path / "open.npz", poisons=np.eye(8)[None, :, :, None].repeat(3, axis=3))
    np.savez(tmp_path / "aimless.npz", poisons=base.train.images[:1])
    for name, form, error in (("open", "numpy", UsageError), ("aimless", "numpy", ViolationError)):
        with pytest.raises(error) as caught, open_any(tmp_path / f"{name}.npz", lambda: base):
            pass
        typed = command("import", form, tmp_path / f"{name}.npz", "--base", base.name, "-o", "imported")
        assert caught.value.remedy.startswith(typed)
        assert "--setup and --target" in caught.value.remedy
        assert ("--unit" in caught.value.remedy) == (error is UsageError)


def test_looks_are_told_apart(tmp_path: Path, base: Base) -> None:
    """No file or folder looks like two formats, and folders of images or shards look like none."""
    triple(tmp_path / "triple", base)
    np.save(tmp_path / "noise.npy", np.zeros(3))
    np.savez(tmp_path / "noise.npz", delta=np.zeros(3))
    np.savez(tmp_path / "arrays.npz", poisons=np.zeros(3))
    (tmp_path / "images" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-000000.tar").write_bytes(b"")
    looks = {
        path.name: [name for name, one in formats.formats().items() if one.sniff(path)] for path in tmp_path.iterdir()
    }
    assert looks == {
        "triple": ["triple"],
        "noise.npy": ["perturbation"],
        "noise.npz": ["perturbation"],
        "arrays.npz": ["numpy"],
        "images": [],
        "shards": [],
    }
