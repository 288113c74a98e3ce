"""The pages of attacks and triggers are the code's: names, threat models, settings, sources, commands that parse."""

from __future__ import annotations

import importlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import typer
from forge import small_base
from PIL import Image
from reference import PART, page_parts, settings_table, written
from test_docs import contributed

from poisonsets import attacks, triggers
from poisonsets.cli.main import app
from poisonsets.crafting import planning
from poisonsets.door import classes
from poisonsets.manifests import open_base, spelling
from poisonsets.manifests.overlay.stamp import footprint, stamp
from poisonsets.presets import names, preset_settings, tables
from poisonsets.settings import Range, meanings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INDEX = (DOCS / "attacks" / "README.md").read_text()
TRIGGERS = (DOCS / "triggers.md").read_text()
OURS = {name: one for name, one in attacks.attacks().items() if one.factory.__module__.startswith("poisonsets.")}
SECTIONS = (
    "Source",
    "Objective",
    "Threat model",
    "Settings",
    "What differs",
    "Command",
    "Measured",
    "Known limits",
)


def page(name: str) -> str:
    return (DOCS / "attacks" / f"{name}.md").read_text()


def sections(text: str, level: str = "##") -> dict[str, str]:
    parts = re.split(rf"^{level} (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (body.strip() for body in parts[2::2]), strict=True))


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table with this header; a pipe inside a cell is escaped."""
    assert text.count(f"\n{header}\n") == 1, header
    lines = text.split(f"\n{header}\n")[1].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def some_factory(
    *,
    steps: Annotated[int, Range(1, 1_000_000), "how many"] = 10,
    rate: Annotated[float, Range(1e-9, 1e9)] = 0.5,
    form: Literal["plain", "fancy"] = "plain",
    file: str = "",
    restart: bool = False,
) -> None:
    """Do nothing.

    Args:
        rate: |x| of Some et al.
        form: one of two
            words.
        file: a path.
        restart: again.
    """


def test_a_table_has_names_defaults_values_and_meanings() -> None:
    assert settings_table(some_factory, "setting").splitlines() == [
        "| setting | default | range or choices | meaning |",
        "|---|---|---|---|",
        "| `steps` | `10` | 1 to 1000000 | how many |",
        r"| `rate` | `0.5` | 1e-09 to 1e+09 | \|x\| of Some et al. |",
        "| `form` | `plain` | `plain`, `fancy` | one of two words |",
        "| `file` | | text | a path |",
        "| `restart` | `false` | `true`, `false` | again |",
    ]


@pytest.mark.parametrize("path", sorted({path for path, _, _ in page_parts()}), ids=lambda path: path.stem)
def test_a_pages_generated_parts_are_the_codes(path: Path) -> None:
    """`make docs` writes them anew."""
    assert path.read_text() == written(path)


def test_every_attack_has_a_page_and_every_page_an_attack() -> None:
    assert {path.stem for path in (DOCS / "attacks").glob("*.md")} == {*OURS, "README"}


def test_the_index_is_the_registrys() -> None:
    found = rows(INDEX, "| attack | threat model | source | in one sentence |")
    assert [row[:3] for row in found] == [
        [f"[{name}]({name}.md)", entry.traits.threat_model, entry.source] for name, entry in OURS.items()
    ]


def test_the_index_has_the_shipped_settings() -> None:
    for preset, of_attacks in tables().items():
        shipped = {
            attack: " ".join(f"{key}={value}" for key, value in given.items()) for attack, given in of_attacks.items()
        }
        assert {row[0]: row[1].strip("`") for row in rows(INDEX, f"| attack | `{preset}` |")} == shipped
    for name in names():
        assert f"`{name}`" in sections(INDEX)["Settings by name"]


def test_the_indexs_settings_file_fits_its_attacks(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```toml\n(.*?)^```", INDEX, re.MULTILINE | re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(shown)
    assert preset_settings(str(path), OURS["gradient-matching"]) == {"restarts": "4", "augment": "false"}


@pytest.mark.parametrize("name", OURS)
def test_a_page_has_its_sections(name: str) -> None:
    text = page(name)
    assert text.startswith(f"# {name}\n")
    assert tuple(sections(text)) == SECTIONS
    for name_of, body in sections(text).items():
        assert re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL).strip(), f"nothing under {name_of}"
    intro = text.split("\n## ")[0]
    assert re.findall(r"`([^`]+)`", intro)[: len(OURS[name].aliases)] == list(OURS[name].aliases)


@pytest.mark.parametrize("name", OURS)
def test_a_page_says_the_codes_threat_model(name: str) -> None:
    assert sections(page(name))["Threat model"].splitlines()[0] == f"{OURS[name].traits.threat_model}."


@pytest.mark.parametrize("name", OURS)
def test_a_page_names_the_registrys_sources(name: str) -> None:
    source = sections(page(name))["Source"]
    for one in OURS[name].source.split("; "):
        paper = re.fullmatch(r"(\w+) et al\. ([0-9]{4})", one)
        assert (f"{paper[1]} et al. ({paper[2]})" if paper else one) in source


@pytest.mark.parametrize("name", OURS)
def test_a_page_has_a_table_of_settings_where_there_are_some(name: str) -> None:
    text = sections(page(name))["Settings"]
    found = [match["name"] for match in PART.finditer(text)]
    assert found == ([f"settings of {name}"] if OURS[name].defaults() else [])
    assert found or text.startswith("It has no settings.")


def commands() -> Iterator[tuple[str, str]]:
    """Every `poisonsets craft` line of the pages that show some, with the page's name."""
    for path in (*sorted((DOCS / "attacks").glob("*.md")), DOCS / "triggers.md", DOCS / "setups.md"):
        for line in re.findall(r"^ {4}(poisonsets craft .+)$", path.read_text(), re.MULTILINE):
            yield path.stem, line


def parse(line: str) -> dict[str, Any]:
    """The options of a `craft` command as the command line reads them, without running it."""
    craft = next(one for name, one in typer.main.get_command(app).commands.items() if name == "craft")
    _, command, *arguments = shlex.split(line)
    assert command == "craft"
    return dict(craft.make_context("craft", arguments).params)


@pytest.mark.parametrize(("where", "line"), list(commands()))
def test_a_command_parses(where: str, line: str, cache: Path) -> None:
    given = parse(line)
    entry = attacks.find(given["attack"])
    if where in OURS:
        assert entry.name == where
    settings = {**preset_settings(given["preset"], entry), **spelling.parse_pairs(given["setting"] or [], "--set")}
    resolved = entry.settings(settings)
    entry.factory(**resolved)
    assert given["preset"] != "digits" or entry.name in tables()["digits"], "a table that is not there"
    assert not given["trigger"] or "trigger" in entry.traits.needs
    if given["base"] != "digits":
        return
    base = open_base("digits", cache=cache)
    pair = None if given["class_pair"] is None else classes.pair(given["class_pair"], base)
    sources = classes.source_labels(given["source_classes"], base)
    counts = {key: given[key] for key in ("poisons", "candidates", "targets")}
    asked = planning.Draw(**counts, rate=given["rate"] and str(given["rate"]), class_pair=pair, source_classes=sources)
    same = {key: given[key] for key in ("trials", "epsilon", "composition", "trigger", "seed")}
    request = planning.craft_request(entry, base, settings=settings, asked=asked, **same)
    assert request.plans


@pytest.mark.parametrize("name", OURS)
def test_a_page_has_a_digits_command_and_one_for_cifar10(name: str) -> None:
    bases = [parse(line)["base"] for where, line in commands() if where == name]
    assert bases[:2] == ["digits", "cifar10"], "two examples; what was measured comes after them"


@pytest.mark.parametrize("name", OURS)
def test_options_and_settings_named_in_passing_exist(name: str) -> None:
    """`--set x=y` and `--option value` in the text, each as a whole behind the attack's name."""
    prose = re.sub(r"^( {4}|\|).*$", "", page(name), flags=re.MULTILINE)
    for option in re.findall(r"`(--[a-z][^`]*)`", prose):
        words = shlex.split(option)
        given = parse(f"poisonsets craft {name} --base digits -o x {option}") if len(words) > 1 else {}
        OURS[name].settings(spelling.parse_pairs(given.get("setting") or [], "--set"))
        known = {flag for option in craft_options() for flag in option.opts}
        assert {word for word in words if word.startswith("--")} <= known, option
    for key, value in re.findall(r"`([a-z_]+)=([^`,]+)`", prose):
        if key in OURS[name].defaults():
            OURS[name].settings({key: value})


def craft_options() -> list[Any]:
    return list(typer.main.get_command(app).commands["craft"].params)


def test_every_kind_of_trigger_is_described() -> None:
    listed = rows(TRIGGERS, "| kind | what it does | covers | may be exempt from a budget |")
    assert [re.findall(r"`([^`]+)`", row[0])[0] for row in listed] == list(triggers.kinds())
    assert [title.strip("`") for title in sections(TRIGGERS) if title.startswith("`")] == list(triggers.kinds())


@pytest.mark.parametrize("name", triggers.kinds())
def test_a_kinds_options_stand_in_its_section_and_have_meanings(name: str) -> None:
    (found,) = PART.finditer(sections(TRIGGERS)[f"`{name}`"])
    assert found["name"] == f"options of {name}"
    assert all(len(meaning.split()) >= 2 for meaning in meanings(triggers.find(name).factory).values())


@pytest.mark.parametrize("name", triggers.kinds())
def test_a_kinds_example_is_made_and_is_what_the_page_says(name: str, tmp_path: Path) -> None:
    (spec,) = re.findall(r"^Example: `([^`]+)`$", sections(TRIGGERS)[f"`{name}`"], re.MULTILINE)
    picture = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 10, 10)).save(picture, "png")
    (tmp_path / "PICTURE.png").write_bytes(picture.getvalue())
    base = small_base(side=32)
    trigger, recorded = triggers.resolve(spec.replace("PICTURE.png", str(tmp_path / "PICTURE.png")), base, seed=0)
    assert recorded.startswith(f"{name},")
    image = base.train.images[0]
    assert (stamp(image, trigger, "train/0") != image).any()
    listed = rows(TRIGGERS, "| kind | what it does | covers | may be exempt from a budget |")
    covers, exempt = next(row[2:] for row in listed if f"`{name}`" in row[0])
    assert (covers == "all") == bool(footprint(trigger, 32, 32, "train/0").all())
    assert (exempt != "no") == (trigger.record.kind == "patch")


def test_the_default_triggers_are_the_codes() -> None:
    said = TRIGGERS.split("Where `--trigger` is left out")[1].split("Whatever")[0]
    assert {entry.traits.trigger for entry in OURS.values() if "trigger" in entry.traits.needs} == set(
        re.findall(r"(?<!-)`((?!--)[^`]+)`", said)
    )


def test_the_example_of_a_trigger_kind_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = importlib.import_module("poisonsets.triggers.kinds")
    triggers.kinds()
    monkeypatch.setattr(registered, "_kinds", dict(registered._kinds))
    contributed("poisonsets/triggers/border.py", tmp_path)
    triggers.kinds.cache_clear()
    try:
        base = small_base()
        trigger, recorded = triggers.resolve("border,width=2,colour=red", base, seed=0)
    finally:
        triggers.kinds.cache_clear()
    assert recorded == "border,width=2,colour=red"
    image = base.train.images[0]
    stamped = stamp(image, trigger, "train/0")
    assert np.array_equal(stamped[2:6, 2:6], image[2:6, 2:6])
    assert (stamped[0] == (255, 0, 0)).all()
    assert (stamped[:, 7] == (255, 0, 0)).all()


def test_the_gallery_has_a_picture_of_every_attack_and_trigger() -> None:
    text, folder = (DOCS / "gallery.md").read_text(), DOCS / "images" / "gallery"
    wanted = {f"attack-{name}.png" for name in OURS} | {f"trigger-{name}.png" for name in triggers.kinds()}
    assert set(re.findall(r"images/gallery/([a-z-]+\.png)", text)) == wanted == {one.name for one in folder.iterdir()}
    assert sum(one.stat().st_size for one in folder.iterdir()) < 1_500_000
