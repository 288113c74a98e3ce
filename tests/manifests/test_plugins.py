"""One loader for plugins: our own folder must load whole, what other packages offer is taken or passed over."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from test_architecture import python

from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.plugins import PluginWarning, by_name, load_plugins

CLASH = "from poisonsets.manifests.errors import UsageError\nraise UsageError('two plugins are called it')"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an importable package of plugins, empty so far."""
    package = tmp_path / "our_plugins"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return package


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [EntryPoint("theirs", value, "some.group") for value in values]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [one for one in points if one.group == group]
    )


def test_our_modules_come_in_order_and_those_with_an_underscore_not_at_all(folder: Path) -> None:
    for name in ("second", "first", "_shared"):
        (folder / f"{name}.py").write_text(f"NAME = {name!r}")
    assert [module.NAME for module in load_plugins("our_plugins")] == ["first", "second"]


def test_a_module_of_ours_that_cannot_be_loaded_is_never_passed_over(folder: Path) -> None:
    (folder / "broken.py").write_text("1 / 0")
    with pytest.raises(MissingError, match=r"our_plugins.broken cannot be loaded: ZeroDivisionError"):
        load_plugins("our_plugins")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("syntax error", "SyntaxError"),
    ],
)
def test_a_module_of_others_that_cannot_be_loaded_is_warned_of_and_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    (folder / "ours.py").touch()
    (folder / "_good.py").touch()
    (folder / "_broken.py").write_text(code)
    offer(monkeypatch, "our_plugins._broken", "our_plugins._good")
    with pytest.warns(PluginWarning, match=r"theirs \(our_plugins._broken\).*cannot be loaded.*uninstall") as warned:
        found = load_plugins("our_plugins", group="some.group")
    assert [module.__name__ for module in found] == ["our_plugins.ours", "our_plugins._good"]
    assert reason in str(warned[0].message)


def test_only_the_group_that_is_asked_for_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "_theirs.py").write_text("1 / 0")
    offer(monkeypatch, "our_plugins._theirs")
    assert load_plugins("our_plugins") == load_plugins("our_plugins", group="another.group") == []


def test_a_plugin_of_others_with_a_name_that_is_taken_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "_theirs.py").write_text(CLASH)
    offer(monkeypatch, "our_plugins._theirs")
    with pytest.raises(UsageError, match="two plugins are called it"):
        load_plugins("our_plugins", group="some.group")


def test_two_plugins_of_one_name_are_refused_and_both_named() -> None:
    one, other = ModuleType("one"), ModuleType("other")
    assert list(by_name("things", [("b", one, 1), ("a", other, 2)])) == ["a", "b"]
    with pytest.raises(UsageError, match=r"two things are called a: other and one\. Rename one, or uninstall"):
        by_name("things", [("a", one, 1), ("a", other, 2)])


OFFERED = {
    "attacks": """
from poisonsets.registry import Traits
from poisonsets.registry import attack

@attack("offered", version=1, traits=Traits(), source="none: a test")
def offered():
    '''Do nothing.'''
""",
    "triggers": """
from poisonsets.triggers.kinds import kind

@kind("offered")
def offered():
    '''Do nothing.'''
""",
    "networks": "from poisonsets.victims.networks import register\nregister('offered')(lambda width: None)",
    "protocols": """
from poisonsets.victims.protocols import Protocol
SUITE = (Protocol("offered", "offered", size=9, flip=True),)
""",
    "checks": "raise AssertionError('checks of others are not for every verification')",
    "formats": "raise AssertionError('formats of others are not for every import')",
    "bases": "raise AssertionError('bases of others are not for every verification')",
}
LISTED = """
import sys
sys.path.insert(0, {folder!r})
from poisonsets import attacks, triggers
from poisonsets.cli.main import run
from poisonsets.manifests.bases import registry
from poisonsets.manifests.interop import formats
from poisonsets.manifests.verification import checks
from poisonsets.victims import networks, protocols
for code in ("attacks", "formats", "checks"):
    assert run(["list", code]) == 0
listed = (attacks.attacks(), triggers.kinds(), networks.names(), protocols.suites())
assert all("offered" in names for names in listed), listed
for names in (registry.kinds(), formats.formats()):
    assert "offered" not in names
assert protocols.parse("offered/offered").network == "offered"
"""


def test_an_installed_package_is_asked_for_four_kinds_and_a_broken_one_stops_no_command(tmp_path: Path) -> None:
    metadata = tmp_path / "offering-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    points = [f"[poisonsets.{kind}]\noffered = offered_{kind}\n" for kind in OFFERED]
    points[0] += "broken = offered_broken\n"
    (metadata / "entry_points.txt").write_text("".join(points))
    for kind, code in {**OFFERED, "broken": "import no_such_module"}.items():
        (tmp_path / f"offered_{kind}.py").write_text(code)
    code = LISTED.format(folder=str(tmp_path))
    said = python(f"import sys\nsys.stderr = sys.stdout\n{code}").splitlines()
    (warned,) = [line for line in said if line.startswith("poisonsets: ")]
    assert "warning: broken (offered_broken) of another package cannot be loaded: ModuleNotFoundError" in warned
