"""Any classifier of torchvision by name, with weights from our generators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from device.fake_gpu import DEVICE, fake_gpu
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import Classifier, NetworkSpec, build, names, skeleton, spellings
from poisonsets.victims.networks.dropout import dropping
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.image_size import refuse_size
from poisonsets.victims.networks.shape import SHORT_NAMES
from poisonsets.victims.networks.weights import load_weights, save_weights, weights_digest
from poisonsets.victims.precision import exact_arithmetic

ZERO, ONE = ("0", "0", "0"), ("1", "1", "1")
# Plain, with dropout in its head, with stochastic depth, without batch normalisation but with weights of other kinds.
SMALL = ["shufflenet_v2_x0_5", "mobilenet_v3_small", "efficientnet_b0", "swin_t"]


def made(name: str, seed: int = 0, classes: int = 5) -> Classifier:
    generator = torch.Generator().manual_seed(seed)
    return build(f"torchvision:{name}", classes, "1", ZERO, ONE, generator=generator)


def some(side: int = 32) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def theirs(name: str, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = torchvision.models.get_model(name, weights=None)
    return model


@pytest.mark.parametrize("name", SMALL)
def test_the_body_is_torchvisions_network_as_it_would_draw_it(name: str) -> None:
    model, network = theirs(name, 7), made(name, 7)
    wanted = model.state_dict()
    found = network.body.get_submodule("model").state_dict()
    assert sum(key not in found for key in wanted) == 2, "only the head's weight and bias are gone"
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in found.items())


@pytest.mark.parametrize("name", SMALL)
def test_features_enter_torchvisions_last_layer(name: str) -> None:
    model, network = theirs(name, 7).eval(), made(name, 7).eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Tensor] = []
    last.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(some())
        before, features = network.stages(some())
        assert torch.equal(network(some()), network.head(features))
    assert torch.equal(features, seen[0])
    assert features.shape == (2, network.feature_width)
    assert before.dim() == 4


@pytest.mark.parametrize("name", SMALL)
def test_the_global_generator_is_never_used(name: str) -> None:
    state = torch.get_rng_state()
    network = made(name).train()
    network(some())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_map_before_the_last_block_is_its_input() -> None:
    network = made("resnet18").eval()
    before, features = network.stages(some(64))
    assert before.shape == (2, 512, 2, 2)
    last = network.body.get_submodule("model.layer4.1")
    assert torch.equal(last(before).mean((2, 3)), features)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small", "resnet18"])
def test_a_folded_copy_keeps_the_function_and_leaves_the_network_alone(name: str) -> None:
    network, generator = made(name), torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.running_mean.uniform_(-0.1, 0.1, generator=generator)
    network.eval()
    copied = folded(network)
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in one.modules()) for one in (network, copied)]
    assert norms[1] < norms[0]
    with torch.no_grad():
        for found, wanted in zip(copied.stages(some()), network.stages(some()), strict=True):
            assert (found - wanted).abs().max() < 2e-5 * wanted.abs().max()
    leaf = some().requires_grad_()
    copied(leaf).square().sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("side", [64, 300])
def test_adaptive_pools_have_a_gradient_that_repeats_itself(side: int) -> None:
    """Those of torchvision's AlexNet and VGG have none on a GPU; values are theirs."""
    model, images = theirs("alexnet", 0).eval(), some(side)
    body = made("alexnet").body.eval()
    with fake_gpu() as gpu, exact_arithmetic():
        there = body.to(DEVICE)(images.to(DEVICE))[1]
        there.sum().backward()
        found = there.detach().cpu()
    assert not gpu.faults
    assert not gpu.random
    wanted = model.classifier[:-1](model.avgpool(model.features(images)).flatten(1))
    torch.testing.assert_close(found, wanted)


def test_dropout_drops_outputs_of_blocks() -> None:
    network = made("shufflenet_v2_x0_5").eval()
    with torch.no_grad():
        plain = network.features(some())
        with dropping(network, 0.5, torch.Generator().manual_seed(0)):
            assert not torch.equal(network.features(some()), plain)
        assert torch.equal(network.features(some()), plain)


def test_weights_on_disk_are_rebuilt_from_the_name(tmp_path: Path) -> None:
    network = made("shufflenet_v2_x0_5", classes=3).eval()
    path = tmp_path / "weights.safetensors"
    digest = save_weights(path, network, {}, {}, classes=(0, 1, 2))
    loaded = load_weights(path)
    assert loaded.record["network"] == "torchvision:shufflenet_v2_x0_5"
    assert weights_digest(loaded.network) == digest
    with torch.no_grad():
        assert torch.equal(loaded.network(some()), network(some()))


@pytest.mark.parametrize("name", ["regnet_y_400mf", "googlenet", "inception_v3", "maxvit_t", "vit_b_16", "densenet121"])
def test_unusual_constructors_give_a_skeleton_without_memory(name: str) -> None:
    network = skeleton(NetworkSpec(f"torchvision:{name}", 10, "1", ZERO, ONE))
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    assert network.feature_width > 0


def test_lists_show_the_spelling_once() -> None:
    assert spellings() == (*names(), *SHORT_NAMES, "timm:NAME", "torchvision:NAME")


def test_another_width_and_a_network_without_a_linear_layer_are_refused() -> None:
    with pytest.raises(UsageError, match=r"width 1 only, found 0\.5"):
        build("torchvision:resnet18", 10, "0.5", ZERO, ONE)
    with pytest.raises(UsageError, match="does not end in a linear layer"):
        build("torchvision:squeezenet1_1", 10, "1", ZERO, ONE)


def test_images_that_a_transformer_cannot_take_are_refused_in_one_line() -> None:
    network = made("maxvit_t")
    with pytest.raises(
        UsageError, match=r"torchvision:maxvit_t cannot take images of 48x48 .* Add `input=224` to the network"
    ) as found:
        refuse_size(network, (48, 48))
    assert "\n" not in str(found.value)
