"""docs/protocols.md holds what was published, and the presets are that, field by field."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from poisonsets.victims.networks import NetworkSpec, skeleton
from poisonsets.victims.networks.normalisation import CONSTANTS
from poisonsets.victims.protocols import Protocol, suite, suites
from poisonsets.victims.protocols._spelling import SETTINGS, shown

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "protocols.md").read_text()
EVERYWHERE = {
    "lr_gamma": "0.1",
    "momentum": "0.9",
    "keep": "1",
    "flip_target": "false",
    "width": "1",
    "input": "-",
    "version": "1",
}


def table() -> dict[str, dict[str, str]]:
    """From a protocol's id to its row, cells without asterisks."""
    published = PAGE.split("## The published values\n")[1].split("\n## ")[0]
    lines = [line for line in published.splitlines() if line.startswith("| ")]
    head, *rows = ([cell.strip().rstrip("*") for cell in line.strip("|").split("|")] for line in lines)
    found = {}
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        for network in cells["networks"].split(", "):
            found[f"{cells['suite'].strip('`')}/{network.rstrip('*')}"] = cells
    return found


ALL = {member.id: member for name in suites() for member in suite(name)}


def test_the_page_has_the_protocols_of_the_suites_in_their_order() -> None:
    rows = list(table())
    assert sorted(rows) == sorted(ALL)
    for name in suites():
        assert [row for row in rows if row.startswith(f"{name}/")] == [member.id for member in suite(name)]


@pytest.mark.parametrize("member", ALL.values(), ids=ALL)
def test_every_field_is_the_pages(member: Protocol) -> None:
    cells = table()[member.id] | EVERYWHERE
    names = {field.name for field in fields(Protocol)} - {"suite", "network"}
    assert names | {"suite", "networks", "source"} == set(cells)
    presets = {name: "-" if getattr(member, name) is None else shown(getattr(member, name)) for name in names}
    assert presets == {name: cells[name] for name in names}


def test_what_is_the_same_everywhere_is_said_on_the_page() -> None:
    sentence = re.search(r"are the same everywhere: (.*?), version 1\.", PAGE)
    assert sentence is not None
    assert {f"`{name}={value}`" for name, value in EVERYWHERE.items() if name not in ("version", "input")} == set(
        sentence[1].split(", ")
    )


def test_every_setting_is_explained() -> None:
    meanings = PAGE.split("## What each setting means")[1]
    trivial = {"batch", "epochs", "learning_rate", "weight_decay", "width", "lr_gamma", "size", "momentum"}
    assert not {name for name in set(SETTINGS) - trivial if f"`{name}`" not in meanings}


def test_the_benchmarks_constants() -> None:
    assert CONSTANTS["cifar10"] == (("0.4914", "0.4822", "0.4465"), ("0.2023", "0.1994", "0.201"))
    assert CONSTANTS["tinyimagenet"] == (("0.4802", "0.4481", "0.3975"), ("0.2302", "0.2265", "0.2262"))
    assert CONSTANTS["imagenet"] == (("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225"))


@pytest.mark.parametrize(
    ("name", "classes", "side"),
    [
        ("cifar10-transfer", 10, 32),
        ("tinyimagenet-transfer", 100, 64),
        ("witches-brew-imagenet", 1000, 224),
        ("toxic-table2", 10, 32),
    ],
)
def test_networks_take_the_images_their_suites_are_for(name: str, classes: int, side: int) -> None:
    for member in suite(name):
        network = skeleton(NetworkSpec(member.network, classes, member.width, *CONSTANTS["imagenet"])).eval()
        assert network(torch.zeros(2, 3, side, side, device="meta")).shape == (2, classes)
