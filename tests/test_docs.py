"""The documents are true: their examples run, their tables are the code's, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from forge import check as verified
from forge import forge, noise_request, small_base, small_set
from reference import commands

from poisonsets.cli.main import app
from poisonsets.cli.main import run as run_command
from poisonsets.manifests import limits
from poisonsets.victims.comparison.results_files import read_results

ROOT = Path(__file__).resolve().parents[1]
SPEC = (ROOT / "manifests" / "SPEC.md").read_text()
CLI = (ROOT / "docs" / "cli.md").read_text()
OURS = ("docs", "manifests", "victims", "poisonsets", "cli", "tests")


def documents() -> list[Path]:
    """Every Markdown file but the cards of sets."""
    nested = [path for folder in OURS for path in (ROOT / folder).rglob("*.md") if "golden" not in path.parts]
    return sorted({*ROOT.glob("*.md"), *(path.resolve() for path in nested)})


def anchors(text: str) -> set[str]:
    """The names under which a rendered page's headings are found."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{path.name}: {link}"
        assert target.is_relative_to(ROOT), f"{path.name}: {link} leaves the project"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{path.name}: {link}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_local_paths(path: Path) -> None:
    text = path.read_text()
    assert str(ROOT) not in text
    assert not re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt|opt|var)/\S+|[A-Z]:\\\w", text)


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_named_in_passing_exist(path: Path) -> None:
    coming = {"victims/defences/"}  # announced in CONTRIBUTING.md
    named = set(re.findall(r"`((?:manifests|victims|poisonsets|cli|tests)/[a-z0-9_/.-]*)`", path.read_text()))
    assert not [name for name in named - coming if not (ROOT / name).exists()]


def test_every_make_target_is_described() -> None:
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    described = re.findall(
        r"^\| `make ([a-z-]+)(?: [A-Z]+=\w+)?` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    assert sorted(described) == sorted({*targets} - {"clean"})


def sections() -> dict[str, str]:
    parts = re.split(r"^## `(poisonsets [a-z -]+)`$", CLI, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_documented_and_no_other() -> None:
    assert set(sections()) == {name for name, _ in commands()}


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_option_is_documented_as_the_command_line_takes_it(name: str, command: Any) -> None:
    """The table is read off the functions; here typer says what it made of them."""
    built: Any = typer.main.get_command(app)
    for word in name.split()[1:]:
        built = built.commands[word]
    options = {flag for option in built.params for flag in option.opts if flag.startswith("-")}
    assert built.help
    assert set(re.findall(r"`(--?[a-z][a-z-]*)`", sections()[name])) == options


def test_every_list_is_documented() -> None:
    from poisonsets.cli.listings import LISTS

    for name in LISTS:
        assert name in sections()["poisonsets list"]


def test_the_limits_are_the_codes() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([0-9,]+) \|", SPEC, re.MULTILINE)
    stated = {name: int(value.replace(",", "")) for name, value in rows}
    assert stated == {name: value for name, value in vars(limits).items() if name.isupper()}


def test_the_finding_codes_are_the_codes() -> None:
    from poisonsets.manifests.interop import import_codes
    from poisonsets.manifests.verification.check_registry import promises
    from poisonsets.manifests.verification.checks import integrity

    stated = re.findall(r"^\| `([DHV][0-9]{3})` \| (damage|violation|hint) \|", SPEC, re.MULTILINE)
    assert [code for code, _ in stated] == sorted({*integrity.CODES, *promises(), *import_codes.CODES})
    assert all({"D": "damage", "H": "hint", "V": "violation"}[code[0]] == kind for code, kind in stated)


def test_the_manifests_fields_are_the_models() -> None:
    from poisonsets.manifests.records.base import BasePin
    from poisonsets.manifests.records.manifest import Manifest
    from poisonsets.manifests.records.trial import Trial

    for title, model in (("4.4 The document", Manifest), ("4.5 Base", BasePin), ("4.6 Trial", Trial)):
        table = SPEC.split(f"### {title}\n\n")[1].split("\n\n")[0]
        assert re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE) == list(model.model_fields)


def blocks(path: Path, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def test_the_python_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(ROOT / "docs" / "python.md")
    assert len(found) >= 6
    names: dict[str, Any] = {}
    for block in found:
        exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102
    assert names["report"].clean
    assert len(names["score"].rows) == 2
    assert "trial 7 is not in the set" in capsys.readouterr().out


def test_the_page_on_defences_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    """Its second block types our commands, which stand beside the interpreter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    names: dict[str, Any] = {}
    ran = []
    python, shell = blocks(ROOT / "docs" / "defence.md")
    assert len(python.splitlines()) < 40
    exec(compile(python, "docs/defence.md", "exec"), names)  # noqa: S102
    table = capsys.readouterr().out
    assert all(victim in table for victim in ("undefended", "neighbours_agree", "random_removal"))

    def run(command: list[str], *, check: bool) -> None:
        assert check
        assert command[0] == "poisonsets"
        ran.append(command[1])
        assert run_command(command[1:]) == 0

    monkeypatch.setattr("subprocess.run", run)
    exec(compile(shell, "docs/defence.md", "exec"), names)  # noqa: S102
    assert ran == ["export", "score"]
    theirs = sorted(read_results([tmp_path / "mine"]), key=lambda row: row.trial)
    assert [row.success for row in theirs] == [row.success for row in names["scores"][1]]


def test_the_lines_of_the_page_on_scores_print_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(ROOT / "docs" / "reading-a-score.md")
    exec(compile(block, "docs/reading-a-score.md", "exec"), {})  # noqa: S102
    said = re.findall(r"print\(.*\)  # ([0-9. ]+)$", block, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == said
    assert len(said) == 3


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/reading-a-score.md",
        "docs/results/digits.md",
        "docs/results/cifar10-transfer.md",
        "docs/results/flowers-audit.md",
    ],
)
def test_printed_intervals_over_trials_are_wilsons(name: str) -> None:
    """Those over more than 100 are of images, whose interval is another; a bootstrap is named behind its interval."""
    from poisonsets.victims.results.statistics import wilson

    printed = r"(\d+) of (\d+), ([\d.]+) % \[([\d.]+), ([\d.]+)\](?!, (?:bootstrap|of ten trials))"
    found = [one for one in re.findall(printed, (ROOT / name).read_text()) if int(one[1]) <= 100]
    assert len(found) >= 4
    for successes, n, *shown in found:
        rate, interval = int(successes) / int(n), wilson(int(successes), int(n))
        assert [f"{100 * value:.1f}" for value in (rate, *interval)] == shown


def test_the_figure_names_folders_that_exist() -> None:
    figure = (ROOT / "docs" / "images" / "stations.svg").read_text()
    folders = [one for line in re.findall(r'class="folder"[^>]*>([^<]+)<', figure) for one in line.split()]
    assert len(folders) >= 9
    assert not [folder for folder in folders if not (ROOT / folder).is_dir()]


def test_the_setups_page_shows_a_setup(tmp_path: Path) -> None:
    from poisonsets.manifests.trials.setup_file import read_setup

    (shown,) = blocks(ROOT / "docs" / "setups.md", "json")
    (tmp_path / "setup.json").write_text(shown)
    entries = read_setup(tmp_path / "setup.json").entries
    assert [entry.base_indices for entry in entries] == [(11, 12, 12), (40,)]
    assert json.loads(shown)["trials"][0]["target_class"] == entries[0].target_class


def test_the_bases_page_names_every_base_and_the_digests_of_digits(cache: Path) -> None:
    from poisonsets.manifests import open_base
    from poisonsets.manifests.bases.registry import kinds

    text = (ROOT / "docs" / "bases.md").read_text()
    for kind in kinds().values():
        assert f"`{kind.usage}`" in text
    base = open_base("digits", cache=cache)
    for name in ("train", "test"):
        pin = base.split(name).pin()
        assert f"| {name} | {pin.images:,} | `{pin.digest}` |" in text


def contributed(path: str, folder: Path) -> ModuleType:
    """The module that CONTRIBUTING.md shows under this path, loaded from a file."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    source = text.split(f"<!-- {path} -->\n```python\n")[1].split("```")[0]
    assert not (ROOT / path).exists()
    file = folder / Path(path).name
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(f"contributed_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # type hints of the module are looked up there
    spec.loader.exec_module(module)
    return module


def test_the_example_of_an_attack_crafts_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from poisonsets import attacks, registry
    from poisonsets.crafting.driver import craft_set
    from poisonsets.manifests import open_set

    attacks.attacks()
    monkeypatch.setattr(registry, "_attacks", dict(registry._attacks))
    contributed("poisonsets/attacks/brightness.py", tmp_path)
    attacks.attacks.cache_clear()
    try:
        base, entry = small_base(), attacks.find("brightness")
        request = replace(noise_request(base), attack=entry, settings=entry.settings({"share": "0.5"}))
        assert craft_set(tmp_path / "set", request).refused == ()
    finally:
        attacks.attacks.cache_clear()
    assert verified(tmp_path / "set", base).clean
    for trial in open_set(tmp_path / "set").trials:
        clean = base.train.images[[index for index in trial.record.slots.bases if index is not None]]
        assert np.array_equal(trial.poisons()[0], np.minimum(clean.astype(int) + 8, 255))


def test_the_example_of_a_protocol_is_one(tmp_path: Path) -> None:
    suite = contributed("victims/protocols/extra_transfer.py", tmp_path).SUITE
    assert [(one.suite, one.network, one.epochs) for one in suite] == [("extra-transfer", "convnet", 20)]


def test_the_example_of_a_network_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from poisonsets.victims import networks

    networks.names()
    monkeypatch.setattr(networks, "_FAMILIES", dict(networks._FAMILIES))
    contributed("victims/networks/tiny.py", tmp_path)
    network = networks.build("tiny", 3, "2", ("0", "0", "0"), ("1", "1", "1")).eval()
    assert network.feature_width == 16
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 3)


def test_the_example_of_a_base_is_read(tmp_path: Path) -> None:
    from poisonsets.manifests.bases.build import build
    from poisonsets.manifests.bases.spec import Spec

    (kind,) = contributed("manifests/bases/kinds/stripes.py", tmp_path).KINDS
    base = build(Spec(kind))
    assert (len(base.train.labels), len(base.test.labels), base.classes) == (20, 10, ("rows", "columns"))


def test_the_example_of_a_check_finds_what_it_says(tmp_path: Path) -> None:
    from poisonsets.manifests.verification import check_registry

    base = small_base()
    honest = small_set(tmp_path / "honest", base)

    def twice(draft: Any) -> None:
        draft.images[0][2] = draft.images[0][1]

    forged = forge(honest, tmp_path / "forged", twice)
    before = {finding.code for finding in verified(forged, base).findings}
    contributed("manifests/verification/checks/variety.py", tmp_path)
    try:
        assert verified(honest, base).clean
        found = [finding for finding in verified(forged, base).findings if finding.code not in before]
        assert [(finding.code, finding.place) for finding in found] == [("V901", "trial 0 slot 2")]
    finally:
        del check_registry.TRIAL_CHECKS["V901"]


def test_the_map_names_every_page() -> None:
    text = (ROOT / "docs" / "README.md").read_text()
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").as_posix()
        assert name == "README.md" or f"({name})" in text, name
