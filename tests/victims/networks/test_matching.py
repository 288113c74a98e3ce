"""Weights as torch wrote them give the features of the module that torch itself loads them into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from poisonsets.manifests.errors import DamagedError, PoisonsetsError, UsageError
from poisonsets.manifests.files.state_dicts import read_state_dict
from poisonsets.victims.networks import NetworkSpec, build
from poisonsets.victims.networks.matching import FilledNetwork, MisfitError, filled_network

MEAN, STD = ("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225")
NET = "torchvision:shufflenet_v2_x0_5"


def spec(name: str) -> NetworkSpec:
    return NetworkSpec(name, 1, "1", MEAN, STD)


def trained(model: nn.Module) -> nn.Module:
    """A network whose running statistics are not those that it begins with."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) - 0.5)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
        elif name.endswith("tracked"):
            buffer.fill_(7)
    return model.eval()


@pytest.fixture(scope="module")
def shufflenet() -> nn.Module:
    torch.manual_seed(0)
    return trained(torchvision.models.shufflenet_v2_x0_5(num_classes=7))


def filled(path: Path, name: str, **options: Any) -> FilledNetwork:
    found = read_state_dict(path)
    return filled_network(spec(name), found.tensors, str(path), ordered=found.ordered, **options)


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def normalised() -> Tensor:
    mean, std = (torch.tensor([float(v) for v in values]).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images() - mean) / std


@torch.no_grad()
def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


def strided(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor a view with permuted strides; all those of four axes parts of one storage."""
    whole = torch.cat([tensor.flatten() for tensor in state.values() if tensor.dim() == 4])
    found, at = {}, 0
    for name, tensor in state.items():
        if tensor.dim() == 4:
            found[name] = whole[at : at + tensor.numel()].view(tensor.shape)
            at += tensor.numel()
        else:
            found[name] = tensor.t().contiguous().t() if tensor.dim() == 2 else tensor
    return found


def to(dtype: torch.dtype) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


CHANGES: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda state: state,
    "float64": to(torch.float64),
    "float16": to(torch.float16),
    "bfloat16": to(torch.bfloat16),
    "parallel": lambda state: {"net": {f"module.{key}": value for key, value in state.items()}},
    "compiled": lambda state: {"model": {f"_orig_mod.module.{key}": value for key, value in state.items()}},
    "strided": strided,
    "without counters": lambda state: {k: v for k, v in state.items() if not k.endswith("tracked")},
}


def bare(value: dict[str, Any]) -> dict[str, Tensor]:
    inner = next((value[key] for key in ("net", "model") if key in value), value)
    return {key.removeprefix("_orig_mod.").removeprefix("module."): tensor for key, tensor in inner.items()}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_features_and_logits_are_those_of_the_module_that_torch_loads(
    tmp_path: Path, shufflenet: nn.Module, change: str, zipped: bool
) -> None:
    value = CHANGES[change](shufflenet.state_dict())
    torch.save(value, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    wanted = torchvision.models.shufflenet_v2_x0_5(num_classes=7)
    wanted.load_state_dict(bare(value), strict=change != "without counters")
    wanted.eval()
    with torch.no_grad():
        found = filled(tmp_path / "w.pth", NET)
        assert difference(found.network(images()), wanted(normalised())) < 1e-5
        wanted.fc = nn.Identity()
        assert difference(found.network.features(images()), wanted(normalised())) < 1e-5
    assert (found.head, found.left_out) == (True, ())
    assert found.network.spec.classes == 7
    assert not found.network.training


@torch.no_grad()
def test_safetensors_and_a_network_of_timm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    wanted = trained(timm.create_model("mobilenetv3_small_050", num_classes=5))
    save_file(to(torch.bfloat16)(wanted.state_dict()), tmp_path / "w.safetensors")
    wanted.load_state_dict(to(torch.bfloat16)(wanted.state_dict()))
    found = filled(tmp_path / "w.safetensors", "timm:mobilenetv3_small_050")
    features = wanted.forward_head(wanted.forward_features(normalised()), pre_logits=True)
    assert difference(found.network.features(images()), features) < 1e-5
    assert difference(found.network(images()), wanted(normalised())) < 1e-5
    with pytest.raises(UsageError, match="does not keep the order"):
        filled(tmp_path / "w.safetensors", "timm:mobilenetv3_small_050", by_order=True)


@torch.no_grad()
@pytest.mark.parametrize("names", ["as in a weights file", "without body.", "others, by order"])
def test_a_network_of_ours(tmp_path: Path, names: str) -> None:
    wanted = build("convnet", 4, "1", MEAN, STD).eval()
    state = wanted.state_dict()
    if names == "without body.":
        state = {key.removeprefix("body."): value for key, value in state.items()}
    elif names == "others, by order":
        kept = [value for key, value in state.items() if key not in ("mean", "std")]
        state = {f"layer{number}": value for number, value in enumerate(kept)}
    torch.save(state, tmp_path / "w.pth")
    found = filled(tmp_path / "w.pth", "convnet", by_order="order" in names)
    assert difference(found.network(images()), wanted(images())) == 0


@torch.no_grad()
def test_a_head_is_dropped_where_asked_and_where_there_is_none(tmp_path: Path, shufflenet: nn.Module) -> None:
    state = shufflenet.state_dict()
    torch.save(state, tmp_path / "with.pth")
    torch.save({key: value for key, value in state.items() if not key.startswith("fc.")}, tmp_path / "without.pth")
    torch.save({key.replace("fc.", "fc.1."): value for key, value in state.items()}, tmp_path / "other.pth")
    whole = filled(tmp_path / "with.pth", NET)
    for name, options in (("with", {"head": False}), ("without", {}), ("other", {"head": False})):
        found = filled(tmp_path / f"{name}.pth", NET, **options)
        assert not found.head
        assert (found.network.spec.classes, found.network.head.weight.abs().max()) == (1, 0)
        assert difference(found.network.features(images()), whole.network.features(images())) == 0
        assert len(found.left_out) == (0 if name == "without" else 2)


MISFITS: dict[str, tuple[str, dict[str, Any], Callable[[dict[str, Tensor]], Any], str]] = {
    "another network": (
        "timm:mobilenetv3_small_050",
        {},
        lambda s: s,
        r"[0-9]+ missing \(conv_stem.weight, .*; [0-9]+ left over",
    ),
    "half": (
        NET,
        {},
        lambda s: {k: v for k, v in s.items() if not k.startswith("stage4")},
        r"missing \(stage4.0.branch1.0.weight, .* more\)",
    ),
    "left over": (NET, {}, lambda s: s | {"odd": torch.ones(1)}, r"1 left over \(odd\)"),
    "shape": (
        NET,
        {},
        lambda s: s | {"conv1.0.weight": torch.ones(24, 3, 5, 5)},
        r"conv1.0.weight \[24, 3, 5, 5\] against \[24, 3, 3, 3\]",
    ),
    "type": (
        NET,
        {},
        lambda s: s | {"conv1.1.bias": torch.ones(24, dtype=torch.int64)},
        r"conv1.1.bias \[24\] int64 against \[24\]",
    ),
    "head of another width": (
        NET,
        {},
        lambda s: s | {"fc.weight": torch.ones(7, 100)},
        r"fc.weight \[7, 100\] against \[1, 1024\]",
    ),
    "bias of another head": (
        NET,
        {},
        lambda s: s | {"fc.bias": torch.ones(1)},
        r"fc.bias \[1\] against fc.weight \[7, 1024\]",
    ),
    "other names": (
        NET,
        {},
        lambda s: {f"x{n}": v for n, v in enumerate(s.values())},
        "All shapes fit in order: add --by-order",
    ),
    "order": (
        NET,
        {"by_order": True},
        lambda s: dict(reversed(s.items())),
        r"number 0, fc.bias \[7\] against body.model.conv1.0.weight \[24, 3, 3, 3\]",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_told_by_its_key(tmp_path: Path, shufflenet: nn.Module, case: str) -> None:
    name, options, change, words = MISFITS[case]
    torch.save(change(shufflenet.state_dict()), tmp_path / "w.pth")
    with pytest.raises(MisfitError, match=words) as caught:
        filled(tmp_path / "w.pth", name, **options)
    assert caught.value.rows
    assert caught.value.exit_code == 2
    assert caught.value.remedy


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_are_finite_floats(tmp_path: Path, shufflenet: nn.Module, value: float) -> None:
    state = to(torch.float64)(shufflenet.state_dict())
    state["conv1.1.bias"] = torch.full((24,), value, dtype=torch.float64)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DamagedError, match=r"conv1\.1\.bias holds values that are not finite"):
        filled(tmp_path / "w.pth", NET)


def test_classifiers_of_training_time_are_passed_over(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.googlenet(num_classes=3, init_weights=False, aux_logits=True)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    found = filled(tmp_path / "w.pth", "torchvision:googlenet")
    assert found.left_out
    assert {key.partition(".")[0] for key in found.left_out} == {"aux1", "aux2"}


def test_an_empty_file_of_tensors_is_a_misfit(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors")
    with pytest.raises(PoisonsetsError):
        filled(tmp_path / "w.safetensors", NET)
