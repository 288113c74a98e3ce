from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from poisonsets.victims.networks import Classifier, build, names
from poisonsets.victims.networks.classifier import Body
from poisonsets.victims.networks.fold import folded

HALF = ("0.5", "0.5", "0.5")


def network(name: str) -> Classifier:
    return build(name, 5, "0.125", HALF, HALF, generator=torch.Generator().manual_seed(3)).eval()


def images(built: Classifier) -> torch.Tensor:
    side = max(32, built.body.smallest)
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", names())
def test_the_second_stage_is_the_features_and_the_first_a_map(name: str) -> None:
    built = network(name)
    before, features = built.stages(images(built))
    assert torch.equal(features, built.features(images(built)))
    assert features.shape == (2, built.feature_width)
    assert before.ndim == 4
    assert before.shape[0] == 2
    assert before.dtype == torch.float32
    copied, _ = folded(built).stages(images(built))
    torch.testing.assert_close(copied, before, rtol=1e-4, atol=1e-5)


MAPS = {
    "alexnet-fc": (8, 8),
    "alexnet-htbd": (32, 1),
    "convnet": (8, 4),
    "convnet64": (32, 10),
    "mobilenetv2": (40, 4),
    "resnet18": (64, 4),
    "resnet32": (8, 8),
    "resnet34": (64, 2),
    "vgg11": (64, 2),
    "vgg16": (64, 4),
}


@pytest.mark.parametrize("name", names())
def test_the_first_stage_is_the_map_that_the_docstring_names(name: str) -> None:
    built = network(name)
    before, _ = built.stages(images(built))
    channels, side = MAPS[name]
    assert before.shape == (2, channels, side, side)


@pytest.mark.parametrize("name", names())
def test_both_stages_see_the_image(name: str) -> None:
    built = network(name)
    for stage in (0, 1):
        leaf = images(built).requires_grad_()
        (gradient,) = torch.autograd.grad(built.stages(leaf)[stage].sum(), leaf)
        assert gradient.abs().sum() > 0


def test_the_last_block_of_resnet18_makes_features_of_the_map() -> None:
    built = network("resnet18")
    before, features = built.stages(images(built))
    last = list(built.body.outputs())[-1]
    assert torch.equal(F.adaptive_avg_pool2d(last(before), 1).flatten(1), features)


def test_the_hidden_layer_of_convnet_makes_features_of_the_map() -> None:
    built = network("convnet")
    before, features = built.stages(images(built))
    hidden = list(built.body.outputs())[-1]
    assert torch.equal(F.relu(hidden(F.adaptive_avg_pool2d(before, 2).flatten(1))), features)


@pytest.mark.parametrize(
    ("name", "outputs"), [("resnet18", 8), ("convnet", 4), ("vgg16", 13), ("mobilenetv2", 18), ("resnet32", 15)]
)
def test_every_block_has_an_output_to_drop(name: str, outputs: int) -> None:
    body = network(name).body
    assert isinstance(body, Body)
    assert len(body.outputs()) == outputs
