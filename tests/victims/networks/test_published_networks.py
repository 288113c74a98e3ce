"""The networks of the published benchmarks: their counts, their forward passes and what attacks need of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lived_networks import HALF, lived_in
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.methods.gradients import cosine, match_gradient, weight_gradient
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import NetworkSpec, build, names, skeleton
from poisonsets.victims.networks.classifier import ConvBN
from poisonsets.victims.networks.image_size import refuse_size

ROOT = Path(__file__).parents[3]
# Classes, parameters, parameters without the head, features, normalisations, convolutions: benchmark, section 2.
PUBLISHED = [
    ("resnet18", {10: 11_173_962, 100: 11_220_132}, 11_168_832, 512, 20, 20),
    ("vgg11", {10: 9_231_114, 100: 9_277_284}, 9_225_984, 512, 8, 8),
    ("mobilenetv2", {10: 2_296_922, 100: 2_412_212, 200: 2_540_312}, 2_284_112, 1280, 57, 57),
    ("vgg16", {100: 14_774_436, 200: 14_825_736}, 14_723_136, 512, 13, 13),
    ("resnet34", {100: 21_335_972, 200: 21_387_272}, 21_284_672, 512, 36, 36),
    ("alexnet-fc", {10: 1_756_426}, 1_754_496, 192, 0, 2),
    ("alexnet-htbd", {10: 20_126_538}, 20_085_568, 4096, 0, 5),
    ("resnet32", {10: 464_154}, 463_504, 64, 31, 31),
    ("convnet64", {10: 1_131_530}, 1_108_480, 2304, 0, 5),
]


def spec(name: str, classes: int = 10, width: str = "1") -> NetworkSpec:
    return NetworkSpec(name, classes, width, HALF, HALF)


def parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def some(count: int, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "by_classes", "body", "features", "norms", "convs"), PUBLISHED)
def test_counts_are_the_published_ones(
    name: str, by_classes: dict[int, int], body: int, features: int, norms: int, convs: int
) -> None:
    for classes, wanted in by_classes.items():
        network = skeleton(spec(name, classes))
        assert parameters(network) == wanted
        assert parameters(network.body) == body
        assert network.feature_width == features
        assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == norms
        assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == convs


def test_every_family_is_in_the_table_of_the_docs_with_its_numbers() -> None:
    text = (ROOT / "docs" / "networks.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    table = {row[0].strip("`"): row[-5:] for row in rows}
    assert sorted(table) == list(names())
    for name, cells in table.items():
        built = [skeleton(spec(name, classes)) for classes in (10, 100, 200)]
        wanted = [built[0].body.smallest, built[0].feature_width, *map(parameters, built)]
        assert [int(cell.replace(",", "")) for cell in cells] == wanted, name


@pytest.mark.parametrize("name", names())
def test_the_multiplier_narrows_features_and_parameters(name: str) -> None:
    whole, narrow = skeleton(spec(name)), skeleton(spec(name, width="0.25"))
    assert narrow.feature_width * 4 == whole.feature_width
    assert 3 < parameters(whole.body) / parameters(narrow.body) < 17


@pytest.mark.parametrize(("name", "side"), [("vgg16", 64), ("vgg11", 32), ("alexnet-htbd", 29), ("convnet64", 9)])
def test_images_too_small_are_refused_in_one_line(name: str, side: int) -> None:
    network = build(name, 3, "0.0625", HALF, HALF)
    refuse_size(network, (side, side))
    with pytest.raises(
        UsageError,
        match=rf"{name}@width=0\.0625 cannot take images .* at least {side}x{side}.*@input={side},width=0\.0625",
    ) as found:
        refuse_size(network, (side, side - 1))
    assert "\n" not in str(found.value)


def test_alexnet_fc_is_the_published_sequence() -> None:
    network = lived_in("alexnet-fc", "0.25").eval()
    one, two, three, four = network.body.outputs()
    norm = nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0)
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    relu, flat = nn.ReLU(), nn.Flatten()
    plain = nn.Sequential(one, relu, pool, norm, two, relu, norm, pool, flat, three, relu, four, relu)
    images = 4 * some(3)
    torch.testing.assert_close(network.features(images), plain((images - 0.5) / 0.5), rtol=1e-5, atol=1e-6)


def test_response_normalisation_does_something() -> None:
    from poisonsets.victims.networks.alexnet import _normalised

    maps = 30 * torch.randn(2, 20, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = F.local_response_norm(maps, 9, alpha=0.001, beta=0.75, k=1.0)
    torch.testing.assert_close(_normalised(maps), wanted, rtol=1e-12, atol=0)
    assert (wanted - maps).abs().max() > 1


def test_alexnet_htbd_is_the_published_sequence_without_dropout() -> None:
    network = lived_in("alexnet-htbd", "0.125").eval()
    one, two, three, four, five, six, seven = network.body.outputs()
    pool, relu = nn.MaxPool2d(3, stride=2), nn.ReLU()
    maps = [one, relu, pool, two, relu, pool, three, relu, four, relu, five, relu, pool]
    plain = nn.Sequential(*maps, nn.Flatten(), six, relu, seven, relu)
    torch.testing.assert_close(network.features(some(3)), plain((some(3) - 0.5) / 0.5), rtol=1e-5, atol=1e-6)


def test_convnet64_is_the_published_sequence() -> None:
    network = lived_in("convnet64", "0.125").eval()
    one, two, three, four, five = network.body.outputs()
    pool, relu = nn.MaxPool2d(3), nn.ReLU()
    plain = nn.Sequential(one, relu, two, relu, three, relu, four, relu, pool, five, relu, pool, nn.Flatten())
    torch.testing.assert_close(network.features(some(3)), plain((some(3) - 0.5) / 0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "side", "pools"), [("vgg11", 32, 5), ("vgg16", 64, 6)])
def test_vgg_is_the_published_sequence(name: str, side: int, pools: int) -> None:
    network = lived_in(name, "0.125").eval()
    steps: list[nn.Module] = []
    for layer in network.body.outputs():
        assert isinstance(layer, ConvBN)
        assert layer.conv.bias is not None
        steps += [layer.conv, layer.bn, nn.ReLU()]
    counts = {"vgg11": (1, 1, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3)}[name]
    ends = [3 * sum(counts[: stage + 1]) for stage in range(5)]
    for end in reversed(ends):
        steps.insert(end, nn.MaxPool2d(2))
    plain = nn.Sequential(*steps, *[nn.MaxPool2d(2)] * (pools - 5), nn.Flatten())
    images = some(2, side)
    wanted = plain((images - 0.5) / 0.5).detach()
    torch.testing.assert_close(network.features(images), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_mobilenetv2_keeps_the_resolution_where_the_benchmark_does_and_projects_where_it_does() -> None:
    body = skeleton(spec("mobilenetv2")).body
    blocks = body.outputs()[:-1]
    assert [i for i, block in enumerate(blocks) if isinstance(block.get_submodule("shortcut"), ConvBN)] == [
        0,
        1,
        10,
        16,
    ]
    network = lived_in("mobilenetv2", "0.125").eval()
    sides: list[int] = []
    for block in network.body.outputs():
        block.register_forward_hook(lambda _module, _inputs, out: sides.append(out.shape[-1]))
    network(some(1))
    assert sides == [32] * 3 + [16] * 3 + [8] * 7 + [4] * 5
    network(some(1, 64))
    assert sides[18:] == [2 * side for side in sides[:18]]


def test_resnet34_maps_are_32_16_8_4_of_64_pixels() -> None:
    network, sides = lived_in("resnet34", "0.0625").eval(), []
    for block in network.body.outputs():
        block.register_forward_hook(lambda _module, _inputs, out: sides.append(out.shape[-1]))
    network(some(1, 64))
    assert sides == [32] * 3 + [16] * 4 + [8] * 6 + [4] * 3


def test_shortcuts_of_resnet32_hold_every_second_pixel_between_zero_channels() -> None:
    block = lived_in("resnet32", "0.5").eval().body.outputs()[5]
    images = torch.rand(2, 8, 6, 6, generator=torch.Generator().manual_seed(1))
    found = block.get_submodule("shortcut")(images)
    assert found.shape == (2, 16, 3, 3)
    assert torch.equal(found[:, 4:12], images[:, :, ::2, ::2])
    assert not found[:, :4].any()
    assert not found[:, 12:].any()


def test_resnet32_starts_kaiming_normal_and_the_others_do_not() -> None:
    def excess(name: str) -> float:
        """The fourth moment over the squared variance of a large layer: 3 for a normal, 1.8 for a uniform one."""
        conv = [m for m in build(name, 10, "1", HALF, HALF).modules() if isinstance(m, nn.Conv2d)][-1]
        drawn = conv.weight.detach()
        if name == "resnet32":
            assert float(drawn.std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
        return float(drawn.pow(4).mean() / drawn.var() ** 2)

    assert excess("resnet32") == pytest.approx(3, abs=0.2)
    assert excess("convnet") == pytest.approx(1.8, abs=0.1)


@pytest.mark.parametrize(
    ("name", "width", "side"),
    [
        ("mobilenetv2", "0.25", 16),
        ("vgg11", "0.125", 32),
        ("alexnet-fc", "0.125", 16),
        ("convnet64", "0.125", 32),
        ("resnet32", "0.5", 16),
        ("torchvision:shufflenet_v2_x0_5", "1", 32),
    ],
)
def test_gradient_matching_sees_the_gradient_of_double_backward(name: str, width: str, side: int) -> None:
    network = lived_in(name, width).eval()
    images, positions = some(3, side), torch.tensor([0, 1, 3])
    with torch.no_grad():  # of size 1, so that no loss is flat
        network.head.weight /= network(images).std()
    surrogate = Surrogate(network, (0, 1, 2, 3), torch.device("cpu"))
    wanted = weight_gradient(surrogate, 1 - images[:1], torch.tensor([2]))
    leaf = images.clone().requires_grad_()
    slopes = torch.autograd.grad(
        F.cross_entropy(network(leaf), positions), list(network.parameters()), create_graph=True
    )
    found = torch.cat([one.permute(0, 2, 3, 1).flatten() if one.dim() == 4 else one.flatten() for one in slopes])
    expected = 1 - F.cosine_similarity(wanted, found, dim=0)
    (slope,) = torch.autograd.grad(expected, leaf)
    value, gradient = match_gradient(surrogate, images, positions, cosine(wanted))
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert float(F.cosine_similarity(gradient.flatten(), slope.flatten(), dim=0)) >= 0.9999
    assert float(gradient.norm()) == pytest.approx(float(slope.norm()), rel=5e-3)
    assert float(slope.norm()) > 0
