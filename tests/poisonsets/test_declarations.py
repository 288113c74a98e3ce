"""What an attack's file declares is read without running it, and is what running it registers."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from poisonsets import attacks, declarations, registry
from poisonsets.declarations import Declaration, full_name
from poisonsets.interface import Attack
from poisonsets.registry import Traits


def registered() -> dict[str, Declaration]:
    return {
        one.name: Declaration(one.name, one.aliases, one.traits, one.source, one.defaults())
        for one in attacks.attacks().values()
    }


def test_what_files_declare_is_what_they_register() -> None:
    written = {one.name: one for one in declarations._written()}
    assert written == registered()
    for one in written.values():
        wanted = registered()[one.name].settings
        assert [(key, value, type(value)) for key, value in one.settings.items()] == [
            (key, value, type(value)) for key, value in wanted.items()
        ]


def test_reading_them_loads_no_torch() -> None:
    code = """
import sys
from poisonsets.declarations import declarations, full_name
assert full_name("FC") == "feature-collision"
print(len(declarations()), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(attacks.attacks())), "False"]


@pytest.mark.usefixtures("open_registry")
def test_an_attack_that_only_runs_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    @registry.attack("only-run", version=1, traits=Traits(), source="none: a test", aliases=("OR",))
    def factory(*, steps: int = 3) -> Attack:
        """Do nothing."""
        raise NotImplementedError

    assert full_name("or") == "only-run"
    assert declarations.declarations()["only-run"].settings == {"steps": 3}


def test_a_file_that_declares_no_constant_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "@attack('computed', version=1, traits=traits(), source='none')\ndef computed(): pass"
    with pytest.raises(ValueError, match="malformed"):
        list(declarations._declared(ast.parse(source)))
    monkeypatch.setattr(declarations, "_written", tuple)
    assert declarations.declarations() == registered()
