"""A set says which package brought its attack, and needs that package no more."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from forge import check, noise_request, small_base
from plugin_site import install

from poisonsets import attacks
from poisonsets.crafting import planning
from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw
from poisonsets.manifests.errors import ViolationError
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
    """A package whose attack lies in a file of its own."""
    install(tmp_path / "site", monkeypatch, "their_package", {"inside": CODE}, {"poisonsets.attacks": "inside"})


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


RAISES = (
    CODE.replace("return lambda task, context: Crafted(task.bases)", "return craft")
    + """
def craft(task, context):
    return Crafted(deeper(task.bases))

def deeper(bases):
    return bases.no_such_method()
"""
)


@pytest.mark.usefixtures("open_registry")
def test_an_exception_names_the_plugins_line_and_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", monkeypatch, "their_package", {"inside": RAISES}, {"poisonsets.attacks": "inside"})
    request = replace(noise_request(BASE), attack=attacks.find("their-attack"))
    line = 1 + RAISES.splitlines().index("    return bases.no_such_method()")
    with pytest.raises(ViolationError, match=rf"no_such_method.*\(their_package/inside.py:{line}\)") as refused:
        craft_set(tmp_path / "set", request)
    (trace,) = refused.value.__notes__
    assert trace.startswith("Traceback")
    assert "return Crafted(deeper(task.bases))" in trace
    assert "return bases.no_such_method()" in trace


TRIGGER = """
from poisonsets.triggers.kinds import kind
from poisonsets.triggers.square import square

@kind("their-trigger")
def theirs():
    return lambda base, seed: (square()(base, seed)[0], {})
"""


def test_a_set_says_which_package_brought_its_trigger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = sys.modules["poisonsets.triggers.kinds"]
    kinds.kinds()
    monkeypatch.setattr(kinds, "_kinds", dict(kinds._kinds))
    kinds.kinds.cache_clear()
    try:
        install(tmp_path / "site", monkeypatch, "their_package", {"inside": TRIGGER}, {"poisonsets.triggers": "inside"})
        request = planning.craft_request(
            "patch-backdoor", BASE, trials=range(1), trigger="their-trigger", asked=Draw(poisons=4)
        )
        craft_set(tmp_path / "set", request)
    finally:
        kinds.kinds.cache_clear()
    wanted = PluginRecord(kind="trigger", name="their-trigger", package="their-package", version="1.5")
    assert open_set(tmp_path / "set").manifest.plugins == (wanted,)
