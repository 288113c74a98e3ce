"""The sentence of an audit says exactly what was counted, whatever came of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poisonsets.experiments.audit.answer import Claim, called, sentence, victims_in_words
from poisonsets.victims.protocols import parse
from poisonsets.victims.results.statistics import wilson

KNEW = "a linear model on frozen features that the attacker knew, trained without augmentation,"
SEVENTEEN = Claim(
    poisons=25,
    images=1500,
    levels=8,
    victims=KNEW,
    successes=17,
    n=20,
    photographs=20,
    interval=wilson(17, 20),
    control=(0, 20),
)


def counted(successes: int, n: int = 20, *, photographs: int = 20, control: int = 0) -> str:
    found = replace(SEVENTEEN, successes=successes, n=n, photographs=photographs, control=(control, n))
    return sentence(replace(found, interval=wilson(successes, n)))


def test_some_of_the_photographs() -> None:
    assert sentence(SEVENTEEN) == (
        "25 of 1,500 images, changed by at most 8/255, made a linear model on frozen features that the attacker knew, "
        "trained without augmentation, call 17 of 20 chosen photographs what the attacker wanted, 85.0 % [64.0, 94.8]; "
        "clean control 0 of 20."
    )


def test_none_of_the_photographs() -> None:
    assert counted(0) == (
        "With 25 of 1,500 images changed by at most 8/255, a linear model on frozen features that the attacker knew, "
        "trained without augmentation, called none of 20 chosen photographs what the attacker wanted, 0.0 % "
        "[0.0, 16.1]; clean control 0 of 20."
    )


def test_all_photographs() -> None:
    assert "call all 20 chosen photographs what the attacker wanted, 100.0 % [83.9, 100.0];" in counted(20)


def test_one_photograph() -> None:
    assert "call the one chosen photograph what the attacker wanted, 100.0 % [20.7, 100.0];" in counted(1, 1)
    assert "did not call the one chosen photograph what the attacker wanted, 0.0 % [0.0, 79.3];" in counted(0, 1)


def test_where_the_control_errs_too_the_poisons_are_not_said_to_have_made_it() -> None:
    said = counted(5, control=4)
    assert said.startswith("With 25 of 1,500 images changed by")
    assert " made " not in said
    assert said.endswith(
        "called 5 of 20 chosen photographs what the attacker wanted, 25.0 % [11.2, 46.9]; clean control 4 of 20."
    )


@pytest.mark.parametrize(("successes", "times"), [(0, "none of"), (17, "17 of"), (20, "all")])
def test_photographs_that_repeat_are_told(successes: int, times: str) -> None:
    said = counted(successes, photographs=18)
    call = "call" if successes else "called"
    wanted = f"{call} a chosen photograph what the attacker wanted in {times} 20 trials (18 different photographs), "
    assert wanted in said


@pytest.mark.parametrize(
    ("protocol", "level", "wanted"),
    [
        ("augment=none", "white-box", KNEW),
        (
            "augment=none",
            "black-box",
            "a linear model on frozen features that the attacker did not know, trained without augmentation,",
        ),
        (
            "augment=crop,pad=4,flip=true",
            "white-box",
            "a linear model on frozen features that the attacker knew, trained on images shifted by up to 4 pixels and "
            "mirrored at random,",
        ),
        (
            "augment=none",
            "grey-box",
            "a linear model on frozen features of a network that the attacker knew, with weights that the attacker did "
            "not know, trained without augmentation,",
        ),
    ],
)
def test_the_victims_are_named_by_what_the_attacker_knew(protocol: str, level: str, wanted: str) -> None:
    assert victims_in_words(parse(f"digits-transfer/convnet@{protocol}"), level) == wanted


def test_a_network_goes_by_its_short_name() -> None:
    assert called("timm:tf_efficientnet_lite0") == "efficientnet-lite0"
    assert called("convnet") == "convnet"
