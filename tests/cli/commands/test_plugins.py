"""`--plugins`: checks, formats and bases of other packages are used where asked for, named, and never otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forge import small_set
from plugin_site import install

from poisonsets.manifests.bases import registry
from poisonsets.manifests.bases.cache import open_base
from poisonsets.manifests.interop import formats
from poisonsets.manifests.verification import check_registry

CHECK = '''
from poisonsets.manifests.verification.check_registry import check
from poisonsets.manifests.verification.findings import Finding

@check("V901")
def dislikes_trial_1(checked):
    """Trial 1 is disliked."""
    if checked.opened.number == 1:
        yield Finding("V901", "trial 1", "is disliked")
'''
FORMAT = """
from dataclasses import replace
from poisonsets.manifests.interop.formats.triple import FORMAT as TRIPLE
FORMAT = replace(TRIPLE, name="theirs", sniff=lambda path: False)
"""
BASE = """
from dataclasses import replace
from poisonsets.manifests.bases.kinds.digits import KINDS as DIGITS
KINDS = tuple(replace(one, name="their-digits") for one in DIGITS)
"""
BROKEN = "import no_such_module"
GROUPS = ("poisonsets.checks", "poisonsets.formats", "poisonsets.bases")


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package with one module in each group; what it registers is forgotten after the test."""
    registries = (check_registry.TRIAL_CHECKS, check_registry.SET_CHECKS, check_registry.FIGURES_CHECKS)
    kept = [dict(one) for one in registries]

    def offered(check: str = CHECK, form: str = FORMAT, base: str = BASE) -> None:
        modules = {"a_check": check, "a_format": form, "a_base": base}
        points = dict(zip(GROUPS, modules, strict=True))
        install(tmp_path / "site", monkeypatch, "their_package", modules, points)

    yield offered
    for one, before in zip(registries, kept, strict=True):
        one.clear()  # type: ignore[attr-defined]
        one.update(before)  # type: ignore[arg-type]
    for module in (formats, registry):
        module._others.clear()
    formats.formats.cache_clear()
    registry.kinds.cache_clear()


@pytest.fixture
def made(here: Path, cache: Path) -> Path:
    return small_set(here / "set", open_base("digits", cache=cache))


def test_without_the_option_nothing_of_others_is_imported(
    cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None]
) -> None:
    offer("raise SystemExit(9)", "raise SystemExit(9)", "raise SystemExit(9)")
    done = cli("verify", "set", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["plugins"] == []
    assert done.err == ""


def test_a_check_of_others_is_run_where_asked_for_and_named(
    cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None]
) -> None:
    offer()
    done = cli("verify", "set", "--plugins", "--html", "page.html")
    assert done.code == 1, done
    assert "with check V901 of their-package 1.5" in done.out.splitlines()
    assert "is disliked" in done.out
    assert "check V901 of their-package 1.5" in (here / "page.html").read_text()
    found = json.loads(cli("verify", "set", "--plugins", "--json").out)
    assert found["plugins"] == [
        "check V901 of their-package 1.5",
        "format theirs of their-package 1.5",
        "base their-digits of their-package 1.5",
    ]
    assert "theirs" in formats.formats()
    assert "their-digits" in registry.kinds()


def test_what_cannot_be_loaded_is_warned_of_and_the_rest_is_used(
    cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None]
) -> None:
    offer(form=BROKEN, base="KIND = 1")
    done = cli("verify", "set", "--plugins", "--json")
    assert json.loads(done.out)["plugins"] == ["check V901 of their-package 1.5"]
    first, second = done.err.splitlines()
    assert "a_format (their_package.a_format) of another package cannot be loaded: ModuleNotFoundError" in first
    assert "a_base (their_package.a_base) of another package cannot be loaded: AttributeError" in second
    assert "KINDS" in second


@pytest.mark.parametrize(
    ("what", "source"),
    [
        ("check", CHECK.replace("V901", "V301")),
        ("form", FORMAT.replace('"theirs"', '"triple"')),
        ("base", BASE.replace('"their-digits"', '"digits"')),
    ],
)
def test_a_name_that_is_taken_is_refused(
    cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None], what: str, source: str
) -> None:
    offer(**{what: source})
    cli("verify", "set", "--plugins").refused(2, "are called", "their_package", "uninstall")


def test_a_check_that_raises_is_named(
    cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(check=CHECK.replace("checked.opened", "checked.nothing"))
    wanted = "check V901 of their_package.a_check raised AttributeError"
    cli("verify", "set", "--plugins").refused(4, wanted, "Leave out --plugins")
    monkeypatch.setenv("POISONSETS_DEBUG", "1")
    assert "if checked.nothing.number == 1:" in cli("verify", "set", "--plugins").err


def test_an_import_names_them_too(cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None]) -> None:
    offer(check="")
    assert cli("export", "set", "--to", "triple", "-o", "triples").code == 0
    imported = ("import", "theirs", "triples", "--base", "digits", "-o")
    cli(*imported, "one").refused(2, "no format is called 'theirs'")
    done = cli(*imported, "two", "--plugins")
    assert done.code == 0, done
    assert "with format theirs of their-package 1.5" in done.out.splitlines()
    assert "2 trials of the format theirs imported" in done.out


def test_a_code_that_is_none_is_passed_over_in_words(
    cli: Callable[..., Any], here: Path, made: Path, offer: Callable[..., None]
) -> None:
    offer(check=CHECK.replace("V901", "mine"))
    done = cli("verify", "set", "--plugins")
    assert done.code == 0, done
    assert "a check's code is 'mine', wanted H or V and three digits" in done.err
    assert "check" not in done.out.splitlines()[0]
