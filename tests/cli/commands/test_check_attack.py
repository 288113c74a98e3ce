"""`poisonsets check-attack`: one table of laws, exit code 1 where one is broken; a plugin's exception with its line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin_site import install

from poisonsets import attacks, registry

CODE = '''
from poisonsets.interface import Crafted
from poisonsets.registry import Traits, attack

@attack("their-attack", version=3, traits=Traits(targeted=False), source="none: a test")
def factory():
    """Turn the values of each base around.

    What differs from a paper: there is none.
    """
    return craft

def craft(task, context):
    return Crafted(BODY)
'''


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package whose attack returns this."""
    attacks.attacks()
    monkeypatch.setattr(registry, "_attacks", dict(registry._attacks))
    attacks.attacks.cache_clear()

    def offered(body: str) -> None:
        modules = {"inside": CODE.replace("BODY", body)}
        install(tmp_path / "site", monkeypatch, "their_package", modules, {"poisonsets.attacks": "inside"})

    yield offered
    attacks.attacks.cache_clear()


def test_laws_that_hold_are_a_table_and_exit_code_0(cli: Callable[..., Any]) -> None:
    done = cli("check-attack", "noise")
    assert done.code == 0, done
    assert "noise version 1 of poisonsets" in done.out
    assert "0 broken" in done.out
    assert "zero budget" in done.out


def test_a_broken_law_says_what_was_seen_and_what_was_wanted(
    cli: Callable[..., Any], offer: Callable[[str], None]
) -> None:
    offer("1 - task.bases")
    done = cli("check-attack", "their-attack", "--json")
    assert done.code == 1, done
    found = json.loads(done.out)
    assert found["package"] == {"name": "their-package", "version": "1.5"}
    broken = {one["law"]: one for one in found["laws"] if one["state"] == "broken"}
    assert set(broken) == {"budget", "zero budget"}
    assert found["counts"]["broken"] == 2
    assert broken["budget"]["seen"].startswith("a change of 255 levels")
    assert broken["budget"]["wanted"] == "at most 8: end with `budget.project`"
    done = cli("check-attack", "their-attack")
    assert done.code == 1
    assert "seen: a change of 255 levels" in done.out
    assert "their-attack version 3 of their-package 1.5" in done.out


def test_an_unknown_attack_is_refused(cli: Callable[..., Any]) -> None:
    cli("check-attack", "nois").refused(2, "unknown attack 'nois'", "Did you mean noise?")


def test_a_plugins_exception_has_its_line_and_on_demand_its_traceback(
    cli: Callable[..., Any], offer: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    offer("task.bases.no_such_method()")
    craft = ("craft", "their-attack", "--base", "digits", "--trials", "0", "--poisons", "4", "-o", "set")
    line = 1 + CODE.splitlines().index("    return Crafted(BODY)")
    cli(*craft).refused(1, "no_such_method", f"(their_package/inside.py:{line})", "POISONSETS_DEBUG=1")
    monkeypatch.setenv("POISONSETS_DEBUG", "1")
    done = cli(*craft)
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err
    assert "return Crafted(task.bases.no_such_method())" in done.err
