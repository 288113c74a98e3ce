"""Weights by name: what others published as a weights file, and the three that packages hold."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from poisonsets.manifests.errors import DamagedError, MissingError, UsageError
from poisonsets.victims.networks import build
from poisonsets.victims.networks import weights_cache as kept
from poisonsets.victims.networks.imported_weights import Description, import_known
from poisonsets.victims.networks.known_weights import KNOWN, KnownWeights
from poisonsets.victims.networks.published import published
from poisonsets.victims.networks.weights import load_weights, save_weights

OURS = ("0.25",) * 3
SAID = Description("convnet@width=0.0625", mean=OURS, std=OURS)


def installed(known: KnownWeights) -> KnownWeights:
    try:
        known.path()
    except MissingError:
        pytest.skip(f"{known.package} is not installed")
    return known


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A state dict of a small network with four classes."""
    network = build("convnet", 4, "0.0625", OURS, OURS)
    path = tmp_path / "some net-1.pth"
    torch.save({key: value for key, value in network.state_dict().items() if key.startswith(("body", "head"))}, path)
    return path


def add(file: Path, cache: Path, **more: Any) -> Any:
    name = more.pop("name", None)
    return kept.add_weights(str(file), replace(SAID, **more), cache=cache, name=name)[0]


def test_an_imported_network_is_a_weights_file_that_says_where_it_came_from(file: Path, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    made = add(file, tmp_path, licence="MIT", dataset="cifar10", class_names=names)
    again = load_weights(tmp_path / "weights" / "some-net-1.safetensors")
    assert again.digest == made.digest
    assert again.record["classes"] == [0, 1, 2, 3]
    assert again.record["class_names"] == list(names)
    assert again.dataset == "cifar10"
    pretraining = again.record["pretraining"]
    sha256 = pretraining.pop("sha256")
    assert len(sha256) == 64
    assert pretraining == {
        "imported": True,
        "source": "some net-1.pth",
        "licence": "MIT",
        "dataset": "cifar10",
        "mean": "0.25,0.25,0.25",
        "std": "0.25,0.25,0.25",
        "head": True,
    }


def test_equal_weights_keep_their_name_and_others_do_not_get_it(file: Path, tmp_path: Path) -> None:
    made = add(file, tmp_path, name="one")
    before = made.path.read_bytes()
    assert add(file, tmp_path, name="one").path.read_bytes() == before
    with pytest.raises(UsageError, match=r"other weights have that name.*weights remove one"):
        add(file, tmp_path, name="one", dataset="cifar10")
    assert [one.name for one in kept.list_weights(tmp_path)] == ["one"]
    assert kept.remove_weights("one", cache=tmp_path).bytes == len(before)
    assert add(file, tmp_path, name="one", dataset="cifar10").dataset == "cifar10"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x.safetensors", "a" * 101, "f" * 64])
def test_a_name_is_no_path_and_no_digest(file: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"name"):
        kept.add_weights(str(file), SAID, cache=tmp_path, name=name or "-")
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_a_weights_file_of_ours_needs_no_words(tmp_path: Path) -> None:
    network = build("convnet", 2, "0.0625", OURS, OURS)
    save_weights(tmp_path / "w.safetensors", network, {"classes": [3, 8]}, {"base": "digits"})
    made, _ = kept.add_weights(str(tmp_path / "w.safetensors"), Description(), cache=tmp_path, name="mine")
    assert (made.record["classes"], made.dataset) == ([3, 8], "digits")
    assert made.path.read_bytes() == (tmp_path / "w.safetensors").read_bytes()
    for said, words in ((Description("resnet18"), "not of resnet18"), (Description(dataset="x"), "says itself")):
        with pytest.raises(UsageError, match=words):
            kept.add_weights(str(tmp_path / "w.safetensors"), said, cache=tmp_path, name="other")


def test_an_unusable_file_is_listed_and_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "bad.safetensors").write_bytes(b"no weights at all")
    (one,) = kept.list_weights(tmp_path)
    assert "weights remove bad" in one.problem
    kept.remove_weights("bad", cache=tmp_path)
    assert kept.list_weights(tmp_path) == []
    with pytest.raises(UsageError, match="no weights file in the cache is called 'bad'"):
        kept.remove_weights("bad", cache=tmp_path)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no network": ({"network": None}, "of which network"),
    "unknown network": ({"network": "resnet1"}, "no network is called"),
    "no normalisation": ({"mean": None, "std": None}, "nothing says how its weights want images normalised"),
    "half a normalisation": ({"std": None}, "a mean without a standard deviation"),
    "deviation of 0": ({"std": ("0.5", "0", "0.5")}, "wanted above 0"),
    "names": ({"class_names": ("a", "b")}, "2 class names for a head of 4 classes"),
    "input": ({"network": "convnet@input=0"}, "input"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_said_must_make_sense(file: Path, tmp_path: Path, case: str) -> None:
    said, words = REFUSED[case]
    with pytest.raises(UsageError, match=words):
        add(file, tmp_path, **said)
    assert not list(tmp_path.glob("**/*.safetensors"))


@pytest.mark.parametrize("name", KNOWN)
@torch.no_grad()
def test_known_weights_give_the_features_of_timm_itself(tmp_path: Path, name: str) -> None:
    known = installed(KNOWN[name])
    path = kept.find_weights(name, cache=tmp_path)
    found = load_weights(path)
    state = torch.load(known.path(), weights_only=True)  # the test's oracle; the project never calls it
    model = timm.create_model(known.network.removeprefix("timm:")).eval()
    assert [value.shape for value in state.values()] == [value.shape for value in model.state_dict().values()]
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    maps = model.forward_features((images - 0.5) / 0.5)
    assert (found.network.features(images) - model.forward_head(maps, pre_logits=True)).abs().max() < 1e-5
    assert (found.network(images) - model((images - 0.5) / 0.5)).abs().max() < 1e-5
    assert (found.network.feature_width, len(found.record["classes"])) == (1280, 1000)
    assert (found.dataset, found.record["pretraining"]["licence"]) == ("imagenet-1k", "Apache-2.0")
    assert found.record["pretraining"]["sha256"] == known.sha256
    assert found.record["pretraining"]["made_for"] == known.side == published(known.network).side
    assert known.package.replace("-", "_") not in sys.modules
    before = path.stat().st_mtime_ns
    assert kept.find_weights(name, cache=tmp_path).stat().st_mtime_ns == before


def test_a_known_name_stands_for_its_weights_alone(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kept for other weights"):
        add(file, tmp_path, name="efficientnet-lite0")
    installed(KNOWN["efficientnet-lite0"])
    for said, words in (
        (Description("resnet18"), "not of resnet18"),
        (Description(dataset="x"), "says itself"),
        (Description("efficientnet-lite0@input=96"), "kept for other weights"),
    ):
        with pytest.raises(UsageError, match=words):
            kept.add_weights("efficientnet-lite0", said, cache=tmp_path)
    said = Description("efficientnet-lite0@input=96")
    made, _ = kept.add_weights("efficientnet-lite0", said, cache=tmp_path, name="lite0-96")
    assert made.network.spec.input == 96


def test_a_package_that_is_missing_or_altered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = KNOWN["efficientnet-lite0"]
    with pytest.raises(MissingError, match=r"is not installed.*pip install 'poisonsets\[pretrained\]'"):
        import_known(replace(known, package="no-such-package-model"))
    installed(known)
    altered = tmp_path / known.file
    altered.parent.mkdir(parents=True)
    shutil.copyfile(known.path(), altered)
    with altered.open("r+b") as data:
        data.seek(-5, 2)
        data.write(b"\x01")

    class Elsewhere:
        def locate_file(self, file: str) -> Path:
            return tmp_path / file

    monkeypatch.setattr(metadata, "distribution", lambda _: Elsewhere())
    with pytest.raises(DamagedError, match=r"sha256 .* but efficientnet-lite0 has 579344248a93e230"):
        import_known(known)


@pytest.mark.parametrize(
    ("name", "mean", "side"),
    [
        ("timm:resnet50", "0.485", 224),
        ("torchvision:resnet18", "0.485", 224),
        ("torchvision:googlenet", "0.5", 224),
        ("torchvision:inception_v3", "0.5", 299),
        ("timm:vit_tiny_patch16_224", "0.5", 224),
    ],
)
def test_normalisation_is_what_the_library_publishes(name: str, mean: str, side: int) -> None:
    found = published(name)
    assert (found.mean[0], found.side) == (mean, side)
