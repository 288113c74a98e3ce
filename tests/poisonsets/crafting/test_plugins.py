"""A set says which package brought its attack, and needs that package no more."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from forge import check, noise_request, small_base

from poisonsets import attacks
from poisonsets.crafting.driver import craft_set
from poisonsets.manifests.records.origin import PluginRecord
from poisonsets.manifests.sets.reader import open_set

BASE = small_base()
CODE = """
from poisonsets.interface import Crafted
from poisonsets.registry import Traits, attack

@attack("their-attack", version=1, traits=Traits(perturbs=False), source="none: a test")
def factory():
    return lambda task, context: Crafted(task.bases)
"""


@pytest.fixture
def their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_registry: None) -> None:
    """A package as pip installs it: its module is `theirs`, its attack in a file of that."""
    site = tmp_path / "site"
    (site / "theirs").mkdir(parents=True)
    (site / "theirs" / "__init__.py").write_text("")
    (site / "theirs" / "inside.py").write_text(CODE)
    metadata = site / "their_package-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.5\n")
    (metadata / "entry_points.txt").write_text("[poisonsets.attacks]\nanything = theirs.inside\n")
    monkeypatch.syspath_prepend(site)
    for module in ("theirs", "theirs.inside"):
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.usefixtures("their_package")
def test_a_set_says_which_package_brought_its_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    craft_set(tmp_path / "set", replace(noise_request(BASE), attack=attacks.find("their-attack")))
    wanted = PluginRecord(kind="attack", name="their-attack", package="their-package", version="1.5")
    assert open_set(tmp_path / "set").manifest.plugins == (wanted,)
    monkeypatch.undo()
    assert check(tmp_path / "set", BASE).worst == 0


@pytest.mark.usefixtures("their_package")
def test_an_attack_of_our_own_comes_from_no_package(tmp_path: Path) -> None:
    craft_set(tmp_path / "set", noise_request(BASE))
    assert open_set(tmp_path / "set").manifest.plugins == ()
