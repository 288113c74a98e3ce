"""The command `weights`: a network of others serves by its name; whatever else is offered ends in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from poisonsets.victims.networks import build

if TYPE_CHECKING:
    from conftest import Cli

CORPUS = Path(__file__).parents[2] / "hostile" / "corpus"
CONVNET = ("--net", "convnet@width=0.0625", "--mean", "0", "--std", "1")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of each test's own."""
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    network = build("convnet", 5, "0.0625", ("0",) * 3, ("1",) * 3)
    state = {key: value for key, value in network.state_dict().items() if key.startswith(("body.", "head."))}
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_a_name_serves_wherever_a_weights_file_does(cli: Cli, file: Path) -> None:
    (file.parent / "names.txt").write_text("five\nsix\nseven\neight\nnine\n")
    done = cli("weights", "add", file, *CONVNET, "--class-names", file.parent / "names.txt", "--trained-on", "mine")
    assert (done.code, done.err) == (0, "")
    assert "net: convnet with a head of 5 classes, trained on mine, digest " in done.out
    (row,) = cli("weights", "list", "--json").document()["weights"]
    assert (row["name"], row["network"], row["classes"], row["trained on"]) == ("net", "convnet", 5, "mine")
    assert row["digest"] in cli("weights", "list").out
    assert cli("list", "weights", "--json").document()["weights"] == [row]
    shown = cli("show", "net", "--json").document()
    assert (shown["digest"], shown["class_names"][4]) == (row["digest"], "nine")
    crafted = cli(
        *("craft", "feature-collision", "--base", "digits", "--trials", "0", "--poisons", "2", "--set", "steps=2"),
        *("--surrogate", "net", "-o", "set"),
    )
    assert (crafted.code, crafted.err) == (0, "")
    (surrogate,) = cli("show", "set", "--json").document()["surrogates"]
    assert surrogate["digest"] == row["digest"]
    assert (surrogate["pretraining"]["imported"], surrogate["pretraining"]["dataset"]) == (True, "mine")
    scored = cli("score", "set", "--extractor", "net", "--protocol", "digits-transfer/convnet@width=0.0625", "--json")
    assert scored.code == 0
    assert cli("weights", "remove", "net", "--json").document()["removed"] == "net"
    cli("show", "net").refused(4)
    cli("craft", "feature-collision", "--base", "digits", "--surrogate", "net", "-o", "other").refused(
        4, "no file and no weights in the cache are called net", "poisonsets weights list"
    )


def test_a_classifier_of_other_classes_is_no_surrogate_for_gradients(cli: Cli, file: Path) -> None:
    assert cli("weights", "add", file, *CONVNET, "--trained-on", "cifar10").code == 0
    cli("craft", "gradient-matching", "--base", "digits", "--surrogate", "net", "-o", "set").refused(
        2, "trained on another base, whose class numbers differ in meaning"
    )


def test_what_does_not_fit_is_one_line_and_a_table_where_asked(cli: Cli, file: Path) -> None:
    other = ("--net", "convnet@width=0.125", "--mean", "0", "--std", "1")
    cli("weights", "add", file, *other).refused(2, "of another shape or type", "against", "--misfits lists every key")
    told = cli("weights", "add", file, *other, "--misfits")
    assert told.code == 2
    assert told.out.count("of another shape or type") >= 10
    assert len(told.err.splitlines()) == 1


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown name": (("efficientnet-lite7",), 2, "Did you mean efficientnet-lite"),
    "no file": (("net.pth", *CONVNET), 4, "no such file"),
    "a folder": ((".", *CONVNET), 3, "not a regular file"),
    "onnx": (("net.onnx", *CONVNET), 3, "an ONNX file is not read"),
    "three numbers": (("net.pth", "--net", "convnet", "--mean", "1,2"), 2, "Write it like"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_added_is_told_in_one_line(cli: Cli, case: str) -> None:
    arguments, code, words = REFUSED[case]
    cli("weights", "add", *arguments).refused(code, words)


def test_every_pickle_of_the_corpus_ends_in_one_line_and_runs_nothing(cli: Cli, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((CORPUS / "pickles").iterdir())):
        offered = tmp_path / f"{number}.pth"
        offered.write_bytes(path.read_bytes())
        cli("weights", "add", offered, *CONVNET).refused(3)
    assert not list(Path.cwd().iterdir())
    assert not (tmp_path / "cache" / "weights").exists()
