"""`import` and `export` at the terminal: one screen, the right exit code, one JSON document, nothing half written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from triples import dumped, picture, triple

from poisonsets.cli import any_set
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.interop import formats

if TYPE_CHECKING:
    from conftest import Cli


def test_what_is_exported_comes_back_and_verifies(cli: Cli, here: Path, honest: Path) -> None:
    done = cli("export", honest, "--to", "triple", "-o", "out")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "out: 2 trials, 7 files",
        "not in the export: the claims on constraint, labels and composition; name, setup, seed, attack, settings and "
        "surrogates",
    ]
    done = cli("import", "auto", "out", "--base", "digits", "--attack", "noise", "-o", "back")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "back: 2 trials of the format triple imported"
    assert done.out.splitlines()[-1] == "every claim that bytes can prove holds"
    assert cli("verify", "back").code == 0
    ours, theirs = (cli("show", path, "--json").document() for path in (honest, "back"))
    assert ours["content_digest"] == theirs["content_digest"]
    assert (theirs["attack"]["name"], theirs["setup"]["kind"], theirs["name"]) == ("noise", "foreign", "back")


def hundred(folder: Path, base: Base) -> Path:
    """A hundred triples, of which some are not as they should be."""
    bases = np.flatnonzero(base.train.labels == 6)[:3].tolist()
    index = int(np.flatnonzero(base.test.labels == 8)[0])
    poisons = [(picture(base.train.images[one]), 6) for one in bases]
    target = (picture(base.test.images[index]), 8)
    for number in range(100):
        some = poisons[:2] if number in (3, 17, 40, 41, 42) else poisons
        triple(folder / str(number), base, bases=bases, poisons=some, target=target)
    (folder / "50" / "target.pickle").write_bytes(b"\x80\x04cos\nsystem\n.")
    wrong = [(picture(255 - base.train.images[bases[0]]), 6), *poisons[1:]]
    dumped(folder / "60" / "poisons.pickle", wrong)
    return folder


def test_a_hundred_triples_on_one_screen(cli: Cli, here: Path, digits: Base) -> None:
    hundred(here / "all", digits)
    done = cli("import", "triple", "all", "--base", "digits", "-o", "set")
    assert (done.code, done.err) == (3, "")
    assert done.out.splitlines() == [
        "D701 trial 50: target.pickle: pickle opcode GLOBAL at byte 2: the global os.system is not allowed. Only plain "
        "lists, dicts, numbers and numpy arrays are read; nothing in it was executed",
        *(f"V701 trial {number}: 2 poisons for 3 base indices" for number in (3, 17, 40, 41, 42)),
        "nothing was written: 6 trials cannot be imported; --skip-bad leaves them out",
    ]
    assert [path.name for path in here.iterdir()] == ["all"]
    done = cli("import", "triple", "all", "--base", "digits", "-o", "set", "--skip-bad", "--json")
    assert (done.code, done.err) == (1, "")
    found = done.document()
    assert (found["kept_out"], len(found["trials"]), found["clean"]) == ([3, 17, 40, 41, 42, 50], 94, False)
    counts = {one["code"]: one["trials"] for one in found["counts"] if one["kind"] != "hint"}
    assert counts == {"D701": [50], "V701": [3, 17, 40, 41, 42], "V301": [60]}
    (bad,) = [one for one in found["findings"] if one["code"] == "V301"]
    assert bad["place"] == "trial 60 slot 0"
    assert bad["message"].startswith("pixel")
    assert cli("verify", "set").code == 1


def test_units_are_asked_for(cli: Cli, here: Path, digits: Base) -> None:
    bases = np.flatnonzero(digits.train.labels == 6)[:3]
    torch.save([torch.full((3, 3, *digits.train.side), 0.031), torch.tensor(bases)], here / "delta.pth")
    packed = ("import", "packed", "delta.pth", "--base", "digits", "--target", "0", "-o", "set")
    cli(*packed).refused(2, "could be in several units", "7.9 as 0-1", "--unit 0-255", "normalised:NAME")
    cli(*packed, "--unit", "metres").refused(2, "--unit metres")
    assert not (here / "set").exists()
    assert cli(*packed, "--unit", "0-1").code in (0, 1)


REFUSED = {
    "format": (("import", "tripel", "all"), 2, "Did you mean triple?"),
    "nothing there": (("import", "auto", "nothing"), 4, "no such file or folder"),
    "nothing known": (("import", "auto", "."), 2, "Name one of"),
    "labels": (("import", "triple", ".", "--labels", "dirty"), 2, "'dirty' is not one of 'clean', 'adversarial'"),
    "composition": (("import", "triple", ".", "--composition", "supplant"), 2, "not one of 'in-place', 'add'"),
    "epsilon": (("import", "triple", ".", "--epsilon", "0"), 2, "8 means 8/255"),
    "exemption of nothing": (("import", "triple", ".", "--epsilon", "none", "--exempt-trigger"), 2, "without a budget"),
    "setup": (("import", "triple", ".", "--setup", "nothing.pickle"), 4, "no such file"),
    "name": (("import", "triple", ".", "--name", "a\nb"), 2, "Change --name"),
    "attack": (("import", "triple", ".", "--attack", "an attack"), 2, "--attack"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_import_that_makes_no_sense(cli: Cli, here: Path, name: str) -> None:
    arguments, code, message = REFUSED[name]
    cli(*arguments, "--base", "digits", "-o", "set").refused(code, message)
    assert not list(here.iterdir())


EXPORTS = {
    "format": (("--to", "numpi"), 2, "Did you mean numpy?"),
    "only read": (("--to", "packed"), 2, "read, but not written"),
    "full of another": (("--full", "--to", "triple"), 2, "Use --to webdataset"),
    "protocol without full": (("--protocol", "digits-transfer/convnet"), 2, "Add --full"),
    "unknown protocol": (("--full", "--protocol", "digits-transfer/nothing"), 2, "no network is called 'nothing'"),
    "a share kept": (("--full", "--protocol", "digits-transfer/convnet@keep=0.5"), 2, "Leave keep out"),
    "trial": (("--trials", "7"), 2, "trial 7 is not in the set"),
    "base": (("--base", "cifar10"), 4, "cifar10"),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_that_makes_no_sense(cli: Cli, here: Path, honest: Path, name: str) -> None:
    arguments, code, message = EXPORTS[name]
    cli("export", honest, *arguments, "-o", "out").refused(code, message)
    assert not list(here.iterdir())


def test_the_whole_training_set_as_a_protocol_composes_it(cli: Cli, here: Path, honest: Path) -> None:
    protocol = "digits-transfer/convnet@size=50"
    done = cli("export", honest, "--full", "--protocol", protocol, "--trials", "1", "-o", "out", "--json")
    assert done.code == 0
    assert done.document()["dropped"][0] == "which rows are poisons, and their bases"
    assert sorted(path.name for path in (here / "out" / "1").iterdir()) == [
        "classes.json",
        "targets",
        "targets.json",
        "train-000000.tar",
    ]
    assert protocol in (here / "out" / "README.md").read_text()


def test_formats_are_listed(cli: Cli) -> None:
    rows = cli("list", "formats", "--json").document()["formats"]
    assert [row["name"] for row in rows] == list(formats.formats())
    assert {row["name"] for row in rows if not row["written"]} == {"packed", "perturbation"}


def test_a_foreign_set_stands_in_for_one_of_ours(
    cli: Cli, here: Path, honest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("export", honest, "--to", "triple", "-o", "out")
    with any_set.native(here / "out", "digits") as ours:
        assert ours != here / "out"
        assert cli("verify", ours).code == 0
    assert not ours.exists()
    assert "a set of the format triple, imported for this; assumed: epsilon 8, clean labels" in capsys.readouterr().err
    with any_set.native(honest, None) as ours:
        assert ours == honest
