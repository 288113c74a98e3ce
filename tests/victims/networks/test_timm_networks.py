"""Any classifier of timm by name: its own features, its own initial values from our generators, no network access."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks import Classifier, NetworkSpec, build, skeleton
from poisonsets.victims.networks.dropout import dropping
from poisonsets.victims.networks.fold import folded
from poisonsets.victims.networks.weights import load_weights, save_weights, weights_digest

ZERO, ONE = ("0", "0", "0"), ("1", "1", "1")
# One of each kind, with the side of the images it is made for.
KINDS = {
    "test_efficientnet": 160,
    "test_resnet": 160,
    "test_vit": 160,
    "test_convnext": 160,
    "mobilenetv3_small_050": 96,
    "test_vit3": 160,  # rotary position embeddings and an attention pool
    "test_mambaout": 160,  # maps [N, H, W, C]
}
ROOT = Path(__file__).resolve().parents[3]


def made(name: str, seed: int = 0, classes: int = 5) -> Classifier:
    generator = torch.Generator().manual_seed(seed)
    return build(f"timm:{name}", classes, "1", ZERO, ONE, generator=generator)


def some(side: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def theirs(name: str, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=1)
    return model


@pytest.mark.parametrize("name", KINDS)
def test_the_body_is_timms_network_as_it_would_draw_it(name: str) -> None:
    wanted, network = theirs(name, 7).state_dict(), made(name, 7)
    found = network.body.get_submodule("model").state_dict()
    head = f"{network.body.head_place}."
    assert {key for key in wanted if key not in found} == {f"{head}weight", f"{head}bias"}
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in found.items())


@pytest.mark.parametrize("name", KINDS)
def test_features_are_timms_own_before_its_classifier(name: str) -> None:
    model, network = theirs(name, 7).eval(), made(name, 7).eval()
    images = some(KINDS[name])
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features(images), pre_logits=True)
        before, features = network.stages(images)
        assert torch.equal(network(images), network.head(features))
    assert torch.equal(features, wanted)
    assert features.shape == (2, network.feature_width)
    assert before.dim() == 4
    # Tokens and pixels stand behind the channels, whose number no image size changes.
    assert before.shape[1] == {"test_mambaout": 64, "test_vit": 64, "test_resnet": 192}.get(name, before.shape[1])


@pytest.mark.parametrize("name", KINDS)
def test_the_global_generator_is_never_used(name: str) -> None:
    state = torch.get_rng_state()
    network = made(name).train()
    network(some(KINDS[name]))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", KINDS)
def test_weights_on_disk_are_rebuilt_from_the_name(name: str, tmp_path: Path) -> None:
    network = made(name, classes=3).eval()
    path = tmp_path / "weights.safetensors"
    digest = save_weights(path, network, {}, {}, classes=(0, 1, 2))
    loaded = load_weights(path)
    assert loaded.record["network"] == f"timm:{name}"
    assert weights_digest(loaded.network) == digest
    with torch.no_grad():
        assert torch.equal(loaded.network(some(KINDS[name])), network(some(KINDS[name])))


@pytest.mark.parametrize("name", KINDS)
def test_a_skeleton_takes_no_memory(name: str) -> None:
    network = skeleton(NetworkSpec(f"timm:{name}", 10, "1", ZERO, ONE))
    assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"meta"}


@pytest.mark.parametrize("name", KINDS)
def test_a_folded_copy_keeps_the_function(name: str) -> None:
    network, generator = made(name), torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.running_mean.uniform_(-0.1, 0.1, generator=generator)
    network.eval()
    images, copied = some(KINDS[name]), folded(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())
    with torch.no_grad():
        for found, wanted in zip(copied.stages(images), network.stages(images), strict=True):
            assert (found - wanted).abs().max() < 2e-5 * wanted.abs().max()


def test_a_folded_copy_drops_the_values_that_the_network_does() -> None:
    network = made("test_efficientnet").eval()
    images, copied = some(64), folded(network)
    with torch.no_grad(), dropping(network, 0.5, torch.Generator().manual_seed(0)):
        wanted = network.features(images)
    with torch.no_grad(), dropping(copied, 0.5, torch.Generator().manual_seed(0)):
        assert (copied.features(images) - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_dropout_drops_outputs_of_blocks() -> None:
    network = made("test_efficientnet").eval()
    with torch.no_grad():
        plain = network.features(some(64))
        with dropping(network, 0.5, torch.Generator().manual_seed(0)):
            assert not torch.equal(network.features(some(64)), plain)
        assert torch.equal(network.features(some(64)), plain)


def test_another_width_and_a_network_without_one_linear_head_are_refused() -> None:
    with pytest.raises(UsageError, match=r"timm:test_resnet has width 1 only, found 0\.5"):
        build("timm:test_resnet", 10, "0.5", ZERO, ONE)
    for name in ("dpn68", "deit_tiny_distilled_patch16_224"):  # a convolution, and two heads
        with pytest.raises(UsageError, match="does not end in a linear layer"):
            skeleton(NetworkSpec(f"timm:{name}", 10, "1", ZERO, ONE))


PROGRAM = """
import sys
import torch
import timm
import torchvision.models
from poisonsets.victims.networks import build

def hook(event, arguments):
    if event.startswith(("socket.", "urllib.", "subprocess.", "os.system")):
        raise SystemExit(f"{event} {arguments}")

sys.addaudithook(hook)
for name in ("timm:test_efficientnet", "timm:tf_efficientnet_lite0", "timm:test_vit", "torchvision:resnet18"):
    build(name, 3, "1", ("0",) * 3, ("1",) * 3)
print("built")
"""


def test_building_opens_no_socket(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "built\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_such_a_network_imports_timm() -> None:
    code = (
        "import sys, poisonsets.victims.protocols as p, poisonsets.victims.networks as n; p.suites(); "
        "n.build('convnet', 2, '0.1', ('0',) * 3, ('1',) * 3); n.spellings(); "
        "n.refuse_unknown('torchvision:resnet18'); assert 'timm' not in sys.modules; "
        "n.refuse_unknown('timm:resnet18'); assert 'timm' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
