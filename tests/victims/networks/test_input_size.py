"""Networks whose first layer brings images to one size: what the layer computes, and that the size is in the digest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.victims.networks import NetworkSpec, build, full_name, skeleton
from poisonsets.victims.networks.default_shape import shape_for
from poisonsets.victims.networks.enlarge import Enlarge
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.image_size import refuse_size
from poisonsets.victims.networks.shape import SETTINGS as NETWORK_SETTINGS
from poisonsets.victims.networks.shape import SHORT_NAMES, Shape, parse_shape
from poisonsets.victims.networks.weights import load_weights, save_weights, weights_digest
from poisonsets.victims.protocols._spelling import SETTINGS as PROTOCOL_SETTINGS

HALF = ("0.5", "0.5", "0.5")
SIZES = [(32, 32, 96), (8, 8, 64), (32, 48, 64), (7, 9, 3), (1, 1, 5), (96, 61, 50), (33, 35, 224), (500, 300, 224)]


def some(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width", "side"), SIZES)
def test_it_is_torchs_antialiased_bilinear_interpolation(height: int, width: int, side: int) -> None:
    images = some(height, width)
    wanted = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
    assert (Enlarge(side)(images) - wanted).abs().max() < 1e-6


def test_images_of_that_size_stay_as_they_are() -> None:
    images = some(9, 9)
    assert torch.equal(Enlarge(9)(images), images)


def test_gradients_are_those_of_interpolation_without_its_operator() -> None:
    leaf, other = some(9, 12).requires_grad_(), some(9, 12).requires_grad_()
    enlarged = Enlarge(20)(leaf)
    weights = torch.rand(enlarged.shape, generator=torch.Generator().manual_seed(2))
    (enlarged * weights).sum().backward()
    wanted = F.interpolate(other, (20, 20), mode="bilinear", antialias=True, align_corners=False)
    (wanted * weights).sum().backward()
    assert leaf.grad is not None
    assert other.grad is not None
    assert (leaf.grad - other.grad).abs().max() < 1e-5

    def operators(node: torch.autograd.graph.Node | None) -> set[str]:
        return set() if node is None else {node.name()}.union(*(operators(one) for one, _ in node.next_functions))

    assert not any("Upsample" in name for name in operators(enlarged.grad_fn))
    assert any("Upsample" in name for name in operators(wanted.grad_fn))


def test_bfloat16_passes_round_no_pixel() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Enlarge(20)(some(9, 9)), Enlarge(20)(some(9, 9).clone()))
        assert Enlarge(20)(some(9, 9)).dtype == torch.float32


def test_a_network_with_an_input_size_sees_enlarged_images() -> None:
    plain = build("convnet", 3, "0.25", HALF, HALF).eval()
    sized = build("convnet", 3, "0.25", HALF, HALF, input=24).eval()
    with torch.no_grad():
        found = sized(some(10, 14))
        assert torch.equal(found, plain(Enlarge(24)(some(10, 14))))
        assert not torch.allclose(found, plain(some(10, 14)))
        assert torch.allclose(folded(sized)(some(10, 14)), found, atol=1e-5)


def test_an_input_size_lets_a_network_take_smaller_images() -> None:
    with pytest.raises(UsageError, match=r"Add `input=32` to the network, vgg11@input=32,width=0\.0625"):
        refuse_size(build("vgg11", 3, "0.0625", HALF, HALF), (8, 8))
    refuse_size(build("vgg11", 3, "0.0625", HALF, HALF, input=32), (8, 8))


def test_one_digest_is_one_network_at_one_size(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    network = build("convnet", 2, "0.0625", HALF, HALF, input=16).eval()
    digest = save_weights(path, network, {}, {"side": [10, 10]}, classes=(0, 1))
    stored, other = load_weights(path), load_weights(path, input=24)
    assert (stored.record["input"], stored.network.spec.input, stored.digest) == (16, 16, digest)
    assert (other.record["input"], other.network.spec.input) == (24, 24)
    assert other.digest == weights_digest(other.network) != digest
    assert stored.at_input(24).digest == other.digest
    assert other.at_input(16).digest == digest
    assert stored.side is None, "a network that brings images to its size wants none"
    with torch.no_grad():
        wanted = build("convnet", 2, "0.0625", HALF, HALF, input=24).eval()(some(10, 10))
        assert torch.equal(other.network(some(10, 10)), wanted)
    plain = build("convnet", 2, "0.0625", HALF, HALF)
    assert weights_digest(plain) not in (digest, other.digest)


def test_the_file_of_weights_at_another_size_is_that_networks(tmp_path: Path) -> None:
    path, again = tmp_path / "weights.safetensors", tmp_path / "again.safetensors"
    save_weights(path, build("convnet", 2, "0.0625", HALF, HALF).eval(), {}, {}, classes=(0, 1))
    stored = load_weights(path)
    assert stored.file_bytes() == path.read_bytes()
    again.write_bytes(stored.at_input(16).file_bytes())
    assert load_weights(again).digest == stored.at_input(16).digest


def test_a_record_with_another_size_than_the_tensors_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    network = build("convnet", 2, "0.0625", HALF, HALF, input=16)
    network.input.fill_(17)
    save_weights(path, network, {}, {}, classes=(0, 1))
    with pytest.raises(DamagedError, match=r"'input' is not \[16\]"):
        load_weights(path)


@pytest.mark.parametrize("short", SHORT_NAMES)
def test_short_names_are_recorded_as_the_long_ones(short: str) -> None:
    assert skeleton(NetworkSpec(short, 2, "1", HALF, HALF)).spec.name == full_name(short) == SHORT_NAMES[short]
    assert str(parse_shape(f"{short}@input=96")) == f"{SHORT_NAMES[short]}@input=96"


def test_a_network_is_spelled_one_way() -> None:
    shape = parse_shape("vgg16@width=0.250,input=64")
    assert shape == Shape("vgg16", "0.25", 64)
    assert str(shape) == "vgg16@input=64,width=0.25"
    assert parse_shape(str(shape)) == shape
    assert str(parse_shape("vgg16@width=1")) == "vgg16"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("vgg16@inputs=64", "Did you mean input"),
        ("vgg16@input=64,input=64", "twice"),
        ("vgg16@input=0", "no side of 1 to 1024"),
        ("vgg16@input=64.5", "Write for example input=96"),
        ("vgg16@input=\u0666\u0664", "Write for example input=96"),
        ("vgg16@width=0", "above 0"),
        ("vgg16@", "Write key=value"),
        ("vgg16@epochs=3", "no network setting is called 'epochs'"),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, answer: str) -> None:
    with pytest.raises(UsageError, match=answer):
        parse_shape(text)


@pytest.mark.parametrize(
    ("side", "wanted"),
    [((8, 8), 64), ((32, 32), 64), ((12, 33), 96), ((48, 48), 96), ((64, 64), 128), ((96, 96), 128), ((500, 300), 128)],
)
def test_the_default_network_takes_twice_the_longer_side(side: tuple[int, int], wanted: int) -> None:
    assert shape_for(side) == Shape("timm:tf_efficientnet_lite0", input=wanted)


def test_no_key_is_both_the_networks_and_the_protocols() -> None:
    assert not set(NETWORK_SETTINGS) & set(PROTOCOL_SETTINGS)
