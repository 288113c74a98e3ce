"""`poisonsets train`: what its options put into a pretraining, and the combinations that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUICK = ("train", "--base", "digits", "--net", "convnet", "--width", "0.125", "--epochs", "1", "-q")
OUT = ("-o", "new.safetensors")


def pretraining() -> dict[str, Any]:
    """What the written file says of its pretraining."""
    from poisonsets.victims.networks.weights import load_weights

    record: dict[str, Any] = load_weights(Path("new.safetensors")).record["pretraining"]
    return record


def test_a_plain_network_has_no_adversary(cli: Callable[..., Any], here: Path) -> None:
    done = cli(*QUICK, *OUT)
    assert (done.code, done.err) == (0, "")
    assert "attacked" not in done.out
    found = pretraining()
    assert (found["adversary"], found["adversary_steps"], found["adversary_step"]) == (0, 0, "0")
    assert (found["dropout"], found["images"], found["normalise"], found["precision"]) == ("0", 0, "own", "fp32")


def test_a_robust_network_says_how_it_was_made_and_how_robust_it_is(cli: Callable[..., Any], here: Path) -> None:
    done = cli(*QUICK, *OUT, "--adversarial", "--images", "100", "--dropout", "0.10", "--json")
    assert (done.code, done.err) == (0, "")
    document = done.document()
    assert 0 <= document["robust"] <= document["images"] == 300
    found = pretraining()
    assert (found["adversary"], found["adversary_steps"], found["adversary_step"]) == (8, 7, "2")
    assert (found["dropout"], found["images"]) == ("0.1", 100)
    shown = cli("show", "new.safetensors", "--json").document()
    assert shown["provenance"]["robust"] == document["robust"]


def test_the_adversary_is_as_asked_for(cli: Callable[..., Any], here: Path) -> None:
    done = cli(*QUICK, *OUT, "--images", "50", "--adversarial", "--adversary-epsilon", "10", "--adversary-steps", "2")
    assert "attacked as in training" in done.out
    found = pretraining()
    assert (found["adversary"], found["adversary_steps"], found["adversary_step"]) == (10, 2, "2.5")


def test_the_precision_is_recorded_and_refused_where_the_device_lacks_it(cli: Callable[..., Any], here: Path) -> None:
    cli(*QUICK, *OUT, "--precision", "tf32", "--device", "cpu").refused(2, "no tf32 on device cpu", "--precision fp32")
    assert not Path("new.safetensors").exists()
    assert cli(*QUICK, *OUT, "--images", "50", "--precision", "bf16").code == 0
    assert pretraining()["precision"] == "bf16"


def test_images_may_be_shown_as_they_are(cli: Callable[..., Any], here: Path) -> None:
    for augment, pad in (("crop", 4), ("none", 0)):
        Path("new.safetensors").unlink(missing_ok=True)
        assert cli(*QUICK, *OUT, "--images", "50", "--augment", augment).code == 0
        assert (pretraining()["pad"], pretraining()["flip"]) == (pad, False)  # digits are not mirrored


@pytest.mark.parametrize(
    ("network", "protocol"),
    [
        ("alexnet-fc", "toxic-table2/alexnet-fc@epochs=1,width=0.0625"),
        ("convnet", "digits-transfer/convnet@epochs=1,head=kept,normalise=none,training=end-to-end,width=0.0625"),
    ],
)
def test_a_victim_goes_on_from_the_whole_of_a_network_that_does_not_normalise(
    cli: Callable[..., Any], honest: Path, network: str, protocol: str
) -> None:
    train = ("train", "--base", "digits", "--net", network, "--width", "0.0625", "--classes", "5-9", "--epochs", "1")
    for name in ("own", "none"):
        assert cli(*train, "--normalise", name, "-o", f"{name}.safetensors", "-q").code == 0
    score = ("score", honest, "--protocol", protocol, "-q", "--json", "--extractor")
    document = cli(*score, "none.safetensors").document()
    assert [row["protocol"] for row in document["rows"]] == [protocol] * 2
    assert all(row["control"] is not None for row in document["rows"])
    done = cli(*score, "own.safetensors")
    assert done.code == 4
    assert "own.safetensors: normalises its images" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--adversary-epsilon", "8"), "--adversary-epsilon 8 without --adversarial"),
        (("--adversary-steps", "8"), "--adversary-steps 8 without --adversarial"),
        (("--adversary-step", "2"), "--adversary-step 2 without --adversarial"),
        (("--adversarial", "--adversary-epsilon", "0"), "--adversary-epsilon"),
        (("--adversarial", "--adversary-epsilon", "256"), "--adversary-epsilon"),
        (("--adversarial", "--adversary-steps", "0"), "--adversary-steps"),
        (("--adversarial", "--adversary-step", "0"), "longer than 0"),
        (("--adversarial", "--adversary-step", "two"), "adversary_step is 'two'"),
        (("--dropout", "1"), "dropout is 1"),
        (("--dropout", "-0.5"), "--dropout -0.5: not a share from 0 to 1"),
        (("--normalise", "cifar10"), "'--normalise': 'cifar10' is not one of 'own', 'none'"),
        (("--augment", "sub-pixel"), "'--augment': 'sub-pixel' is not one of 'crop', 'none'"),
        (("--dropout", "1/3"), "--dropout 1/3: no decimal of it ends. Write 0.33"),
        (("--images", "7"), "no multiple of the 5 classes"),
        (("--images", "-5"), "--images"),
        (("--images", "5000"), "the pretraining asks for 1000"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cli: Callable[..., Any], here: Path, options: tuple[str, ...], said: str
) -> None:
    cli(*QUICK, *OUT, *options).refused(2, said)
    assert not list(here.iterdir())


def test_a_share_is_recorded_as_the_decimal_it_is() -> None:
    from poisonsets.cli.commands.train import _decimal
    from poisonsets.manifests.spelling import parse_share

    spelled = ("0.10", "1/10", "10%", "0", "1/8", "12.5%")
    assert [_decimal(parse_share(text, "--dropout")) for text in spelled] == ["0.1"] * 3 + ["0"] + ["0.125"] * 2
