"""What `score` cannot do it says in one line, before any training, and leaves every file as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from forge import Draft, forge

from poisonsets.manifests.files import store
from poisonsets.manifests.files.disk import Disk
from poisonsets.victims.networks import build
from poisonsets.victims.networks.normalisation import NONE
from poisonsets.victims.networks.weights import save_weights

Cli = Callable[..., Any]
PROTOCOL = "digits-transfer/convnet@epochs=1,size=100,width=0.0625"
WIDE = "digits-transfer/convnet@epochs=1"
GIVEN = ("--extractor", "{stock}/weights")
PLAIN = ("{set}", "--protocol", PROTOCOL, *GIVEN)
VGG = "@flip=false,size=100,width=0.0625"


def extractor(name: str) -> tuple[str, ...]:
    return ("{set}", "--protocol", PROTOCOL, "--extractor", f"{{stock}}/{name}")


def protocol(name: str) -> tuple[str, ...]:
    return ("{set}", "--protocol", name, *GIVEN)


def out(name: str, *more: str) -> tuple[str, ...]:
    return (*PLAIN, "-o", name, *more)


UNFIT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "weights of another network": (extractor("alexnet"), ("convnet@width=0.0625", "alexnet-fc", "Give weights")),
    "weights of another width": (protocol(WIDE), ("extractor convnet, given", "convnet@width=0.0625", "Give weights")),
    "weights of other classes": (
        protocol(f"{PROTOCOL},head=kept,training=end-to-end"),
        ("{stock}/weights", "[0, 1, 2, 3, 4]", "[5, 6, 7, 8, 9]", "head=fresh"),
    ),
    "weights for fewer classes": (
        (*extractor("three")[:2], f"{PROTOCOL},head=kept,training=end-to-end", *extractor("three")[3:]),
        ("{stock}/three", "[5, 6, 7]", "head=fresh"),
    ),
    "weights that normalise": (
        protocol(f"{PROTOCOL},normalise=none"),
        ("{stock}/weights: normalises", "normalise=own"),
    ),
    "weights for other images": (extractor("sixteen"), ("{stock}/sixteen", "16", "32")),
    "vgg16, frozen": (
        ("{set}", "--protocol", f"tinyimagenet-transfer/vgg16{VGG}", "--extractor", "{stock}/vgg16"),
        ("vgg16", "32x32", "64x64", "Add `input=64` to the network"),
    ),
    "vgg16, from scratch": (
        ("{set}", "--protocol", f"tinyimagenet-scratch/vgg16{VGG}"),
        ("vgg16", "32x32", "64x64", "Add `input=64` to the network"),
    ),
}
MISSING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a base of other pixels": ((*PLAIN, "--base", "digits@resize=16"), ("digits", "the base it was made from")),
    "a base that is not there": ((*PLAIN, "--base", "cifar10"), ("base cifar10 is not in the cache", "base add")),
    "a set of another base": (("{stock}/strange-base", *PLAIN[1:]), ("000000000000", "digits", "base add")),
    "an accelerator": ((*PLAIN, "--device", "cuda:999"), ("cuda:999", "--device cpu")),
    "weights": (extractor("nowhere"), ("{stock}/nowhere: no such file", "train")),
    "the set": (("nowhere", *PLAIN[1:]), ("nowhere: no such folder",)),
    "results of another protocol": (
        (*protocol(f"{PROTOCOL},pad=2"), "-o", "{stock}/results", "--resume"),
        ("{stock}/results", "other settings (protocols is", "now", "another results folder"),
    ),
    "results of other weights": (
        (*extractor("seeded"), "-o", "{stock}/results", "--resume"),
        ("{stock}/results", "other settings (extractors is", "another results folder"),
    ),
    "results of another precision": (
        out("{stock}/results", "--resume", "--feature-dtype", "fp32"),
        ("{stock}/results", "other settings (features is fp16, now fp32)"),
    ),
    "results, not resumed": (out("{stock}/results"), ("{stock}/results", "not empty", "--resume")),
    "results that are none": (out("{stock}/mine", "--resume"), ("{stock}/mine: no results folder", "another one")),
    "results that are a file": (out("{stock}/empty"), ("{stock}/empty: exists and is not a folder", "another output")),
    "results that are a file, resumed": (out("{stock}/empty", "--resume"), ("{stock}/empty", "not a folder")),
    "results below a file": (out("{stock}/empty/results"), ("{stock}/empty: a file stands where", "another output")),
    "results that are a link": (out("{stock}/link"), ("{stock}/link: exists and is not a folder",)),
    "results that may not be written": (out("/proc/1/nope"), ("/proc/1/nope", "Check permissions")),
    "results inside the set": (out("{set}/results"), ("{set}/results", "elsewhere")),
}
DAMAGED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "weights, one bit": (extractor("flipped"), ("{stock}/flipped", "Get the file again")),
    "weights, cut": (extractor("cut"), ("{stock}/cut", "Get the file again")),
    "weights, no byte": (extractor("empty"), ("{stock}/empty: not a safetensors file", "train")),
    "weights, a text": (extractor("text"), ("{stock}/text: not a safetensors file", "train")),
    "weights, a folder": (extractor("mine"), ("{stock}/mine: not a regular file", "train")),
    "weights, a pipe": (extractor("pipe"), ("{stock}/pipe: not a regular file", "train")),
    "weights, a link": (extractor("link"), ("{stock}/link: a link", "train")),
    "settings of results": (out("{stock}/torn", "--resume"), ("{stock}/torn/settings.json",)),
    "a row of results": (out("{stock}/edited", "--resume"), ("{stock}/edited/rows/", "checksum", "Remove the file")),
}
USAGE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "resume without a folder": ((*PLAIN, "--resume"), ("--resume", "-o")),
    **{f"shard {text!r}": ((*PLAIN, "--shard", text), (f"--shard {text}", "1/4")) for text in ("", "1", "0/2", "3/2")},
    "trials out of range": ((*PLAIN, "--trials", "0-7"), ("{set}", "trial 2", "it has 0-1")),
    **{
        f"{option} {text!r}": ((*PLAIN, option, text), (f"{option} {text}:", said))
        for option in ("--trials", "--victim-seeds")
        for text, said in (
            ("", "Write it like 0-9"),
            ("-1", "Write it like 0-9"),
            ("all", "Write it like 0-9"),
            ("1e3", "Write it like 0-9"),
            ("0.5", "Write it like 0-9"),
            ("99999999999", "Write it like 0-9"),
            ("3-1", "backwards"),
            ("0-99999999", "too long"),
        )
    },
    "protocol": (protocol("digits-transfer/convnett"), ("'digits-transfer/convnett'", "Did you mean convnet?")),
    "protocol, empty": (protocol(""), ("protocol ''", "no suite is called ''", "Known:")),
    "protocol, a suite": (
        protocol("digits-transfer"),
        ("names no network", "Write for instance digits-transfer/convnet"),
    ),
    "suite": (("{set}", "--suite", "digits-transferr", *GIVEN), ("digits-transferr", "Did you mean digits-transfer?")),
    "override": (protocol("digits-transfer/convnet@epoch=1"), ("'epoch'", "Did you mean epochs?")),
    "override, none": (protocol("digits-transfer/convnet@"), ("'' is no option", "Write key=value")),
    "override, twice": (protocol("digits-transfer/convnet@pad=1,pad=2"), ("pad is given twice",)),
    **{
        f"override {text}": (protocol(f"digits-transfer/convnet@{text}"), said)
        for text, said in {
            "epochs=many": ("epochs=many has no meaning", "epochs=40"),
            "epochs=0": ("epochs is 0", "1 to 10000"),
            "flip=yes": ("flip=yes has no meaning", "flip=true"),
            "optimiser=lion": ("'lion'", "adamw"),
            "normalise=None": ("'None'", "Did you mean none?"),
            "learning_rate=nan": ("learning_rate is 'nan'", "0.25"),
            "width=0": ("width is 0", "above 0"),
            "keep=0": ("keep is 0", "above 0"),
            "size=501": ("size=501", "evenly by 5 classes"),
            "flip=true": ("mirror", "flip=false"),
            "head=kept": ("head is kept in frozen training", "end-to-end"),
            "normalise=cifar10": ("normalise is cifar10", "normalise=own"),
        }.items()
    },
    "precision": ((*PLAIN, "--precision", "fp16"), ("'--precision': 'fp16' is not one of 'fp32', 'tf32', 'bf16'",)),
    "precision of a GPU": (
        (*PLAIN, "--precision", "tf32", "--device", "cpu"),
        ("no tf32 on device cpu", "--precision fp32"),
    ),
    "features": ((*PLAIN, "--feature-dtype", "fp8"), ("'--feature-dtype': 'fp8' is not one of 'fp16', 'fp32'",)),
    "fail under": ((*PLAIN, "--fail-under", "2"), ("--fail-under 2", "0.5")),
    "workers": ((*PLAIN, "--workers", "0"), ("--workers",)),
    "device": ((*PLAIN, "--device", "tpu"), ("'tpu'", "cuda:N")),
    "base": ((*PLAIN, "--base", "digitz"), ("'digitz'", "digits")),
    "weights that nobody uses": (protocol("digits-scratch/convnet"), ("{stock}/weights", "no protocol uses")),
}


def cases() -> Iterator[Any]:
    for code, table in ((4, UNFIT), (4, MISSING), (3, DAMAGED), (2, USAGE)):
        for name, (words, said) in table.items():
            yield pytest.param(words, code, said, id=name)


def weights(
    path: Path, network: str, *, classes: tuple[int, ...] = (0, 1, 2, 3, 4), side: int = 32, seed: int = 0
) -> None:
    """An untrained network that normalises, as a file."""
    generator = torch.Generator().manual_seed(seed)
    made = build(network, len(classes), "0.0625", NONE[0], ("0.5", "0.5", "0.5"), generator=generator)
    save_weights(path, made, {"classes": list(classes)}, {"side": [side, side]})


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, honest: Path, cache: Path) -> Path:
    """One folder with everything that is wrong: weights, sets and results."""
    folder = tmp_path_factory.mktemp("stock")
    weights(folder / "weights", "convnet")
    weights(folder / "seeded", "convnet", seed=1)
    weights(folder / "three", "convnet", classes=(5, 6, 7))
    weights(folder / "sixteen", "convnet", side=16)
    weights(folder / "alexnet", "alexnet-fc")
    weights(folder / "vgg16", "vgg16", side=64)
    data = (folder / "weights").read_bytes()
    (folder / "flipped").write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    (folder / "cut").write_bytes(data[:-8])
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("weights of my network\n")
    (folder / "link").symlink_to(folder / "weights")
    os.mkfifo(folder / "pipe")
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis").write_text("precious")
    forge(honest, folder / "strange-base", other_base)
    forge(honest, folder / "strange-target", no_target)
    results(folder, honest, cache)
    return folder


def results(folder: Path, honest: Path, cache: Path) -> None:
    """A results folder, and two that somebody broke."""
    from poisonsets.cli.main import run

    words = [word.format(set=honest, stock=folder) for word in out("{stock}/results", "--trials", "0", "-q")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        assert run(["score", *words]) == 0
    for name in ("torn", "edited"):
        shutil.copytree(folder / "results", folder / name)
    (folder / "torn" / "settings.json").write_bytes((folder / "results" / "settings.json").read_bytes()[:-5])
    (row,) = (folder / "edited" / "rows").iterdir()
    row.write_text(row.read_text().replace('"seconds":"', '"seconds":"1'))


def other_base(draft: Draft) -> None:
    draft.manifest["base"]["splits"]["train"]["digest"] = "0" * 64


def no_target(draft: Draft) -> None:
    draft.trial(0)["targets"][0]["index"] = 9999


def contents(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a victim or a default network is trained."""
    for place in ("scoring.worker.RowMaker.run", "training.pretrain.fitted_network"):
        monkeypatch.setattr(f"poisonsets.victims.{place}", lambda *_, **__: pytest.fail("something was trained"))


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(("words", "code", "said"), list(cases()))
def test_a_refusal_is_one_line_before_any_training(
    cli: Cli, here: Path, honest: Path, stock: Path, words: tuple[str, ...], code: int, said: tuple[str, ...]
) -> None:
    before = contents(stock, honest)
    places = {"set": honest, "stock": stock}
    done = cli("score", *(word.format(**places) for word in words))
    done.refused(code, *(one.format(**places) for one in said))
    assert contents(stock, honest) == before
    assert not list(here.iterdir())


@pytest.mark.usefixtures("untrained")
def test_what_is_not_refused_would_be_trained(cli: Cli, honest: Path, stock: Path) -> None:
    """So that the refusals above are not those of any command."""
    with pytest.raises(pytest.fail.Exception, match="something was trained"):
        cli("score", *(word.format(set=honest, stock=stock) for word in PLAIN))


@pytest.mark.usefixtures("untrained")
def test_a_target_outside_the_test_split_is_a_false_claim(cli: Cli, here: Path, stock: Path) -> None:
    done = cli("score", stock / "strange-target", "--protocol", PROTOCOL, "--extractor", stock / "weights", "-o", "new")
    assert done.code == 1
    assert "trial 0: target test/9999 does not exist" in done.out
    (line,) = done.err.splitlines()
    assert "strange-target: nothing was scored" in line
    assert not list(here.iterdir())


@pytest.mark.parametrize("full", ["settings.json", "rows"])
def test_a_full_disk_leaves_nothing_half_written(
    cli: Cli, here: Path, honest: Path, stock: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    class Crowded(Disk):
        def open(self, path: Path | str, flags: int) -> int:
            new = flags & os.O_CREAT and f"/{full}" in str(path)
            return os.open("/dev/full", os.O_WRONLY) if new else super().open(path, flags)

    score = ("score", honest, "--protocol", PROTOCOL, "--extractor", stock / "weights", "-o", here / "results", "-q")
    with monkeypatch.context() as patch:
        patch.setattr(store, "disk", Crowded())
        cli(*score).refused(4, "results/", full, "No space left on device", "free space")
    written = ["settings.json"] if full == "rows" else []
    assert [path.name for path in here.rglob("*") if path.is_file()] == written
    resumed = cli(*score, *(["--resume"] if written else []))
    assert resumed.code == 0, resumed.err
    assert len(list((here / "results" / "rows").iterdir())) == 2
