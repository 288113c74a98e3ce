from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from device.fake_gpu import DEVICE, fake_gpu
from torch import nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import (
    Classifier,
    Collection,
    NetworkSpec,
    build,
    collect,
    names,
    refuse_unknown,
    skeleton,
)
from poisonsets.victims.networks.classifier import Body, averaged, channels
from poisonsets.victims.networks.weights import weights_digest

ZERO, HALF, ONE = ("0", "0", "0"), ("0.5", "0.5", "0.5"), ("1", "1", "1")


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def some(network: Classifier, count: int) -> torch.Tensor:
    """Images that are large enough for the network."""
    side = max(16, network.body.smallest)
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def layers(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def test_resnet18_is_the_benchmarks() -> None:
    network = build("resnet18", 10, "1", HALF, HALF)
    assert parameters(network) == 11_173_962
    assert parameters(network.body) == 11_168_832
    assert network.feature_width == 512
    assert len(layers(network, nn.Conv2d)) == 20
    assert len(layers(network, nn.BatchNorm2d)) == 20
    assert all(conv.bias is None for conv in layers(network, nn.Conv2d))


def test_quarter_width_has_a_stem_of_16_channels() -> None:
    network = build("resnet18", 10, "0.25", HALF, HALF)
    assert layers(network, nn.Conv2d)[0].weight.shape == (16, 3, 3, 3)
    assert network.feature_width == 128


def test_resnet18_maps_are_32_16_8_4() -> None:
    network = build("resnet18", 2, "0.0625", HALF, HALF).eval()
    sides: list[int] = []
    for block in network.body.blocks:
        block.register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    network(torch.zeros(1, 3, 32, 32))
    assert sides == [32, 32, 16, 16, 8, 8, 4, 4]


def test_convnet_is_cheap() -> None:
    network = build("convnet", 10, "1", HALF, HALF)
    multiply_adds: list[int] = []

    def count(module: nn.Conv2d, _inputs: object, out: torch.Tensor) -> None:
        multiply_adds.append(module.weight.numel() * out.shape[-1] * out.shape[-2])

    # In training mode, where the convolutions are modules of their own.
    for conv in layers(network.train(), nn.Conv2d):
        conv.register_forward_hook(count)
    network(torch.zeros(1, 3, 32, 32))
    assert sum(multiply_adds) == 2_801_664
    assert network.feature_width == 64


@pytest.mark.parametrize("name", names())
def test_features_then_head_are_the_logits(name: str) -> None:
    network = build(name, 7, "0.125", HALF, HALF).eval()
    images = some(network, 3)
    features = network.features(images)
    assert features.shape == (3, network.feature_width)
    assert features.dtype == torch.float32
    assert torch.equal(network.head(features), network(images))


@pytest.mark.parametrize("name", names())
def test_normalisation_is_the_first_layer(name: str) -> None:
    plain = build(name, 2, "0.125", ZERO, ONE).eval()
    normal = build(name, 2, "0.125", HALF, ("0.25", "0.25", "0.25")).eval()
    images = some(plain, 2)
    assert torch.equal(normal(images), plain((images - 0.5) / 0.25))


@pytest.mark.parametrize("name", names())
def test_weights_come_from_the_generator_alone(name: str) -> None:
    def weights(seed: int) -> Classifier:
        return build(name, 2, "0.125", HALF, HALF, generator=torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    one, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(state, torch.get_rng_state())
    for left, right, third in zip(one.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)
        # Scales and shifts of batch normalisation start at 1 and 0 under any seed.
        assert left.ndim == 1 or not torch.equal(left, third)


def test_initialisation_has_pytorchs_spread() -> None:
    ours = build("resnet18", 10, "0.25", HALF, HALF)
    with torch.random.fork_rng(devices=[]):
        for layer in [*layers(ours, nn.Conv2d)[:3], ours.head]:
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            mine = layer.weight.detach().clone()
            layer.reset_parameters()
            torch.testing.assert_close(mine.std(), layer.weight.std(), rtol=0.1, atol=0)
            torch.testing.assert_close(mine.abs().max(), layer.weight.abs().max(), rtol=0.02, atol=0)


@pytest.mark.parametrize(("base", "width", "wanted"), [(64, "0.25", 16), (16, "0.001", 1), (16, "1.5", 24)])
def test_channels_round_and_never_vanish(base: int, width: str, wanted: int) -> None:
    assert channels(base, width) == wanted


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean resnet18"):
        build("resnet-18", 2, "1", HALF, HALF)


@pytest.mark.parametrize("width", ["0", "17", "-1", "1e3", "nan", "", "1/4"])
def test_a_width_out_of_range_is_refused(width: str) -> None:
    with pytest.raises(UsageError, match="width"):
        build("convnet", 2, width, HALF, HALF)


def test_a_second_collection_cannot_take_a_prefix() -> None:
    def make(_name: str, _width: str) -> tuple[Body, int]:
        raise AssertionError("taken over")

    names()
    with pytest.raises(UsageError, match=r"^two collections of networks are called torchvision: "):
        collect("torchvision", Collection(tuple, make))
    assert skeleton(NetworkSpec("torchvision:resnet18", 2, "1", ZERO, ONE)).feature_width == 512


@pytest.mark.parametrize("name", ["convnet", "resnet18", "mobilenetv2"])
def test_a_network_that_is_placed_computes_what_it_did(name: str) -> None:
    network = build(name, 3, "0.25", HALF, HALF, generator=torch.Generator().manual_seed(0)).eval()
    images, digest = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)), weights_digest(network)
    wanted = network(images)
    assert network.placed(torch.device("cpu")) is network
    filters = [value for value in network.parameters() if value.dim() == 4]
    assert filters
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in filters)
    torch.testing.assert_close(network(images), wanted, rtol=1e-4, atol=1e-5)
    assert weights_digest(network) == digest


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("shape", "side"), [((1, 1), 2), ((4, 6), 2), ((7, 5), 1), ((3, 7), 2), ((5, 3), 8), ((2, 2), 2)]
)
def test_maps_are_averaged_as_by_an_adaptive_pool(
    shape: tuple[int, int], side: int, layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, *shape, generator=generator).contiguous(memory_format=layout).requires_grad_()
    slope = torch.randn(3, 5, side, side, generator=generator)
    found, wanted = averaged(maps, side), F.adaptive_avg_pool2d(maps, side)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(one, maps, slope)[0] for one in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=2e-6)
    with fake_gpu() as gpu:
        there = torch.ones(2, 3, *shape, device=DEVICE).requires_grad_()
        torch.autograd.grad(averaged(there, side).square().sum(), there)
    assert gpu.launches
    assert not gpu.random + gpu.faults + gpu.syncs


def test_the_average_of_a_bfloat16_map_is_one_of_float32_rounded_once() -> None:
    maps = torch.randn(3, 5, 3, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = averaged(maps, 2)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), F.adaptive_avg_pool2d(maps.float(), 2), rtol=2**-7, atol=2**-8)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("timm:resnet5", "Did you mean resnet50"),
        ("timm:resnet18.a1_in1k", "no network of timm"),
        ("timm:hf-hub:timm/resnet18", "no network of timm"),
        ("timm:local-dir:/tmp", "no network of timm"),
        ("timm:hf-hub:timm/resnet18@main", "no network of timm"),
        ("timm:resnet*", "no network of timm"),
        ("timm:", "no network of timm"),
        ("timm", "no network is called 'timm'"),
        ("torchvision:resnet5", "Did you mean resnet50"),
        ("torchvision:", "no network of torchvision is called ''"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no network of torchvision"),
        ("torchvision", "no network is called 'torchvision'"),
        ("pytorchcv:resnet50", "no network is called"),
    ],
)
def test_whatever_is_no_exact_name_of_a_library_is_refused(name: str, answer: str) -> None:
    with pytest.raises(UsageError, match=answer):
        refuse_unknown(name)
    with pytest.raises(UsageError, match=answer):
        skeleton(NetworkSpec(name, 10, "1", ZERO, ONE))
