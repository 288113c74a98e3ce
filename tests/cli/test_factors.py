"""The page's table of the benchmark's factors: whatever it says can be typed is a setting, an option or a protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from poisonsets.cli.main import app
from poisonsets.victims.protocols import parse

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocols.md").read_text()
TABLE = PAGE.split("## The factors of the benchmark's Table 1 and Figure 3\n")[1].split("\n## ")[0]
TYPED = sorted(set(re.findall(r"`([^`]+)`", TABLE)))
SETTINGS = [text for text in TYPED if re.fullmatch(r"[a-z_]+=[a-z0-9.-]+", text)]
OPTIONS = [text for text in TYPED if re.match(r"(?:craft|train|score) --", text)]


def test_the_table_names_every_kind_of_switch() -> None:
    assert {text.split("=")[0] for text in SETTINGS} >= {
        "augment",
        "flip_target",
        "keep",
        "normalise",
        "optimiser",
        "size",
    }
    assert {text.split()[1] for text in OPTIONS} >= {"--classes", "--epsilon", "--images", "--normalise", "--trigger"}


@pytest.mark.parametrize("text", SETTINGS)
def test_a_setting_makes_another_protocol(text: str) -> None:
    first = "training=end-to-end," if text == "head=kept" else ""
    assert text in parse(f"cifar10-transfer/resnet18@{first}{text}").id


@pytest.mark.parametrize("text", OPTIONS)
def test_an_option_is_one_of_its_command(text: str) -> None:
    application: Any = typer.main.get_command(app)
    name, *words = text.split()
    known = {flag for option in application.commands[name].params for flag in option.opts}
    assert {word for word in words if word.startswith("--")} <= known
