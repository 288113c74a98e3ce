"""Attacks by name, alias and entry point; settings by type, in range, recorded so that they read back."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisonsets import attacks, registry
from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.plugins import PluginWarning
from poisonsets.registry import RegisteredAttack, Traits
from poisonsets.settings import Range, decimal, record_settings


def a_factory(
    *,
    steps: Annotated[int, Range(1, 100)] = 10,
    rate: Annotated[float, Range(0, 1)] = 0.5,
    form: Literal["plain", "fancy"] = "plain",
    restart: bool = False,
) -> Attack:
    """Do nothing."""

    def craft(task: Task, context: Context) -> Crafted:
        return Crafted(task.bases)

    return craft


ENTRY = RegisteredAttack("some-attack", ("SA",), 1, Traits(), "none: a test", a_factory)


def register(name: str, factory: Callable[..., Attack] = a_factory, aliases: tuple[str, ...] = ()) -> None:
    registry.attack(name, version=1, traits=Traits(), source="none: a test", aliases=aliases)(factory)


def test_an_attack_is_found_by_each_of_its_names_in_any_case() -> None:
    for entry in attacks.attacks().values():
        for name in (entry.name, *entry.aliases):
            assert attacks.find(name) is attacks.find(name.upper()) is attacks.find(name.lower()) is entry
    assert attacks.find("fc").name == "feature-collision"
    assert list(attacks.attacks()) == sorted(attacks.attacks())


def test_every_file_of_the_folder_registers_one_attack() -> None:
    from importlib import resources

    files = {path.name[:-3] for path in resources.files("poisonsets.attacks").iterdir() if path.name.endswith(".py")}
    homes = [entry.factory.__module__.rpartition(".")[2] for entry in attacks.attacks().values()]
    assert sorted(homes) == sorted(files - {"__init__"})


@pytest.mark.parametrize(("typed", "meant"), [("bulseye-polytope", "bullseye-polytope"), ("Nois", "noise")])
def test_a_slip_is_answered_with_the_nearest_name(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"unknown attack '{typed}'. Did you mean {meant}"):
        attacks.find(typed)
    with pytest.raises(UsageError, match="list attacks"):
        attacks.find("zzzzzzzz")


def test_settings_are_parsed_by_type_and_the_rest_keep_their_defaults() -> None:
    assert ENTRY.settings({}) == {"steps": 10, "rate": 0.5, "form": "plain", "restart": False}
    given_all = {"steps": "7", "rate": "1", "form": "fancy", "restart": "true"}
    found = ENTRY.settings(given_all)
    assert found == {"steps": 7, "rate": 1.0, "form": "fancy", "restart": True}
    assert [type(value) for value in found.values()] == [int, float, str, bool]
    assert ENTRY.defaults()["steps"] == 10


@pytest.mark.parametrize(
    ("key", "text", "complaint"),
    [
        ("stepps", "1", "has no setting 'stepps'. Did you mean steps"),
        ("zzzz", "1", "It has: steps, rate, form, restart"),
        ("steps", "0", "outside 1 to 100"),
        ("steps", "101", "outside 1 to 100"),
        ("steps", "1.5", "not a whole number"),
        ("steps", "", "not a whole number"),
        ("steps", "9" * 6000, "not a whole number"),
        ("rate", "-0.1", "outside 0 to 1"),
        ("rate", "nan", "not a finite number"),
        ("rate", "inf", "not a finite number"),
        ("rate", "1e999", "not a finite number"),
        ("rate", "half", "not a number"),
        ("form", "Fancy", "not one of plain, fancy"),
        ("restart", "1", "not true or false"),
    ],
)
def test_settings_without_meaning_are_refused(key: str, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match="some-attack") as refused:
        ENTRY.settings({key: text})
    assert complaint in str(refused.value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_recorded_decimal_reads_back_to_the_same_float(value: float) -> None:
    text = decimal(value)
    assert float(text) == value
    assert record_settings({"rate": value}) == {"rate": text}


def test_only_floats_become_strings() -> None:
    settings = {"steps": 3, "restart": True, "form": "plain", "rate": 0.1, "whole": 2.0}
    wanted = {"steps": 3, "restart": True, "form": "plain", "rate": "0.1", "whole": "2"}
    assert record_settings(settings) == wanted
    assert record_settings(settings)["restart"] is True


THEIRS = """
from poisonsets.interface import Crafted
from poisonsets.registry import Traits
from poisonsets.registry import attack

@attack("their-attack", version=1, traits=Traits(), source="none: a test", aliases=("TA",))
def factory():
    return lambda task, context: Crafted(task.bases)
"""


@pytest.mark.usefixtures("open_registry")
def test_an_attack_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch, THEIRS)
    assert attacks.find("ta").factory.__module__ == "their_package"
    assert {"their-attack", "noise"} <= set(attacks.attacks())


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(
    ("code", "complaint"),
    [("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"), ("", "AttributeError")],
)
def test_an_attack_of_another_package_that_cannot_be_loaded_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, complaint: str
) -> None:
    offer(tmp_path, monkeypatch, code)
    with pytest.warns(PluginWarning, match=r"their_package.*uninstall") as warned:
        assert attacks.find("noise").name == "noise"
    assert complaint in str(warned[0].message)


@pytest.mark.usefixtures("open_registry")
def test_an_attack_of_another_package_with_a_name_of_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path, monkeypatch, THEIRS.replace("their-attack", "noise"))
    with pytest.raises(UsageError, match=r"two attacks are called noise: .*their_package.*uninstall"):
        attacks.find("noise")


def offer(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Pretend that a package with an attack is installed."""
    (folder / "their_package.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "their_package", raising=False)
    point = EntryPoint("theirs", "their_package:factory", "poisonsets.attacks")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [point] if group == point.group else [])


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("traits=Traits(needs=frozenset({'feature'}))", "needs has 'feature', wanted some of 'features', 'gradients'"),
        ("traits=Traits(needs=('features',))", r"needs=('features',), wanted frozenset({...})"),
        ("traits=Traits(objective='loss')", "objective='loss', wanted 'feature' or 'gradient' or 'none'"),
        ("traits=Traits(batched=1)", "batched=1, wanted True or False"),
        ("traits=Traits(exempting='visible')", "exempting='visible', wanted one of its boolean settings"),
        ("traits=None", "traits=None, wanted Traits(...)"),
        ("version='1.0'", "version='1.0', wanted a whole number"),
        ("source=''", "source='', wanted the paper"),
        ("aliases=('an alias',)", "the attack's name is 'an alias', wanted letters"),
    ],
)
def test_a_wrong_declaration_is_passed_over_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, complaint: str
) -> None:
    word = wrong.partition("=")[0]
    code = re.sub(rf"{word}=(Traits\(\)|1|\"[^\"]*\"|\(\"TA\",\))", lambda _: wrong, THEIRS)
    assert wrong in code
    offer(tmp_path, monkeypatch, code)
    with pytest.warns(PluginWarning, match=re.escape(complaint)):
        assert attacks.find("noise").name == "noise"
    with pytest.raises(UsageError, match="unknown attack"):
        attacks.find("their-attack")


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("steps", "steps is no setting; write `*, steps: int = 1`"),
        ("*, steps", "steps is no setting"),
        ("*, steps: int", "with a default"),
        ("*, steps=3", "steps is of type None, wanted int, float, bool or a Literal"),
        ("*, steps: list[int] = 3", r"steps is of type list[int], wanted int"),
    ],
)
def test_a_setting_that_cannot_be_given_is_passed_over_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, complaint: str
) -> None:
    offer(tmp_path, monkeypatch, THEIRS.replace("factory()", f"factory({setting})"))
    with pytest.warns(PluginWarning, match=re.escape(complaint)):
        assert "their-attack" not in attacks.attacks()


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize(("name", "aliases"), [("noise", ()), ("Noise", ()), ("mine", ("bp",)), ("FC", ())])
def test_two_attacks_of_one_name_are_refused(name: str, aliases: tuple[str, ...]) -> None:
    before = dict(attacks.attacks())
    with pytest.raises(UsageError, match=r"two attacks are called .*test_registry"):
        register(name, aliases=aliases)
    attacks.attacks.cache_clear()
    assert attacks.attacks() == before


@pytest.mark.usefixtures("open_registry")
def test_registering_the_same_factory_again_is_no_clash() -> None:
    register("mine")
    register("mine")
    assert attacks.find("mine").factory is a_factory
