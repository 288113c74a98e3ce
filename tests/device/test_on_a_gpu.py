"""Crafting and scoring with `--device cuda`, on the fake GPU: nothing is refused, and all comes out as on the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from device.fake_gpu import DEVICE, MODEL, Gpu, fake_gpu
from torch import Tensor, nn
from works import content

from poisonsets.cli.main import run
from poisonsets.crafting.crafter import Crafter
from poisonsets.manifests.bases.dataset import Base
from poisonsets.methods.pairing import greedy
from poisonsets.victims.features.cache import FeatureCache
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.scoring.jobs import forget_peak
from poisonsets.victims.trainers.whole_network import forward_pass
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer
from poisonsets.victims.training import loop
from poisonsets.victims.training.checkpoint import Checkpoint
from poisonsets.victims.training.loop import Schedule, fit, optimiser_of
from poisonsets.victims.training.pretrain import cached_weights, train_network
from poisonsets.victims.training.pretraining import Pretraining

EVERY_EPOCH = dict(WholeNetworkTrainer.__init__.__kwdefaults__ or {}, every=1)
PLAIN = Schedule(3, 8, "0.05", (2,), "0.1", "0.9", "0.001", 0, False)
HALF = ("0.5", "0.5", "0.5")
MEASURED = {"device", "gpu", "peak_memory_bytes", "seconds"}


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with fake_gpu() as gpu:
        yield gpu


@pytest.fixture(scope="module")
def network(digits: Base, cache: Path) -> Path:
    """A quarter of the default network of `digits`, after one epoch."""
    pretraining = Pretraining("convnet", (0, 1, 2, 3, 4), epochs=1, width="0.25", batch=32)
    return cached_weights(pretraining, digits, cache, device=torch.device("cpu")).path


@pytest.fixture(autouse=True)
def shared_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))


def crafted(folder: Path, attack: str, network: Path, device: str) -> Path:
    """A set of two trials with five poisons each."""
    asked = ["--base", "digits", "--trials", "0-1", "--poisons", "5"]
    if attack != "label-flip":
        asked += ["--set", "steps=3", "--surrogate", str(network)]
    assert run(["craft", attack, *asked, "--device", device, "-q", "-o", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("attack", ["bullseye-polytope", "hidden-trigger-backdoor"])
def test_an_attack_crafts_the_poisons_of_the_cpu(tmp_path: Path, network: Path, attack: str) -> None:
    wanted = content(crafted(tmp_path / "cpu", attack, network, "cpu"))
    with fake_gpu() as gpu:
        made = crafted(tmp_path / "cuda", attack, network, "cuda")
    assert content(made) == wanted
    assert gpu.launches.total() > 100
    assert not gpu.faults
    assert not gpu.random


@pytest.mark.parametrize("training", ["transfer", "scratch"])
def test_a_score_predicts_what_the_cpu_does(
    tmp_path: Path, network: Path, training: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is triton, victims from scratch go through what `torch.compile` returns, here without a compiler."""
    monkeypatch.setattr(forward_pass, "WORTH", 1)
    made = crafted(tmp_path / "set", "bullseye-polytope", network, "cpu")
    asked = ["--protocol", f"digits-{training}/convnet@epochs=2,width=0.25", "--json"]
    if training == "transfer":
        asked += ["--extractor", str(network)]

    def rows(device: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert run(["score", str(made), *asked, "-q", "--device", device]) == 0
        found = json.loads(capsys.readouterr().out)["rows"]
        return [{key: value for key, value in row.items() if key not in MEASURED} for row in found]

    wanted = rows("cpu")
    with fake_gpu() as gpu, torch.compiler.set_stance("force_eager"):
        assert rows("cuda") == wanted
    assert len(wanted) == 2
    assert gpu.launches.total() > 100
    assert not gpu.faults
    assert not gpu.random


@pytest.mark.parametrize(
    ("said", "fragment"),
    [
        ("CUDA out of memory. Tried to allocate 2 GiB", "out of memory. Use fewer --workers"),
        ("CUDA error: out of memory", "out of memory. Use fewer --workers"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "out of memory"),
        ("CUDA error: unspecified launch failure", "the device failed (CUDA error: unspecified launch failure)"),
    ],
)
def test_a_score_that_the_gpu_ends_keeps_its_finished_rows(
    tmp_path: Path,
    network: Path,
    said: str,
    fragment: str,
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, results = crafted(tmp_path / "set", "label-flip", network, "cpu"), tmp_path / "results"
    asked = ["score", str(made), "--protocol", "digits-scratch/convnet@epochs=1,width=0.0625", "--device", "cuda", "-q"]
    predict, calls = WholeNetworkTrainer.predictions, []

    def once(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError(said)
        return predict(*given)

    monkeypatch.setattr(WholeNetworkTrainer, "predictions", once)
    assert run([*asked, "-o", str(results)]) == 4
    told = capsys.readouterr().err
    assert f"cuda:0: {fragment}" in told
    assert "--resume" in told
    assert len(list((results / "rows").iterdir())) == 1
    assert run([*asked, "-o", str(results), "--resume"]) == 0
    assert len(list((results / "rows").iterdir())) == 2
    assert len(calls) == 3


def test_a_score_goes_on_with_another_gpu_and_its_rows_name_the_model(
    tmp_path: Path, network: Path, gpu: Gpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a victim in training: stopped after its first epoch, it does the second one alone."""
    gpu.count = 2
    made, results = crafted(tmp_path / "set", "label-flip", network, "cpu"), tmp_path / "results"
    asked = ["score", str(made), "--protocol", "digits-scratch/convnet@epochs=2,width=0.0625", "-o", str(results)]
    monkeypatch.setattr(WholeNetworkTrainer.__init__, "__kwdefaults__", EVERY_EPOCH)
    epochs: list[int] = []

    def stop(_model: object, _schedule: object, epoch: int) -> None:
        epochs.append(epoch)
        if epochs == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "refuse_diverged", stop)
    assert run([*asked, "-q", "--device", "cuda:0"]) == 130
    capsys.readouterr()
    assert run([*asked, "-q", "--device", "cuda:1", "--resume", "--json"]) == 0
    assert epochs[:4] == [0, 1, 1, 0]
    found = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["device"], row["gpu"]) for row in found] == [("cuda", MODEL)] * 2
    capsys.readouterr()
    assert run([*asked, "-q", "--device", "cpu", "--resume"]) == 4
    assert "device is cuda" in capsys.readouterr().err


def test_crafting_goes_on_with_another_gpu_and_names_the_model(
    tmp_path: Path, network: Path, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.count = 2
    attack, calls = Crafter.run, []

    def once(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return attack(*given)

    monkeypatch.setattr(Crafter, "run", once)
    asked = ["craft", "label-flip", "--base", "digits", "--trials", "0-1", "--poisons", "5", "-q"]
    assert run([*asked, "-o", str(tmp_path / "set"), "--device", "cuda:0"]) == 130
    assert run([*asked, "-o", str(tmp_path / "set"), "--device", "cuda:1", "--resume"]) == 0
    made = json.loads((tmp_path / "set" / "run.json").read_bytes())
    assert (made["device"], made["gpu"]) == ("cuda", MODEL)


def test_memory_can_be_measured_before_anything_is_on_the_gpu(gpu: Gpu) -> None:
    forget_peak(DEVICE)
    assert not gpu.faults


def test_a_compiled_victim_trains_though_it_has_no_length() -> None:
    model = victim()
    compiled: Any = torch.compile(model)
    with pytest.raises(TypeError):
        len(compiled)
    with torch.compiler.set_stance("force_eager"):
        train(model, PLAIN, forward=compiled)
    plain = victim()
    train(plain, PLAIN)
    assert equal(model, plain)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_resumed_victim_has_its_buffers_as_its_parameters_lie(tmp_path: Path, gpu: Gpu, optimiser: Any) -> None:
    schedule, kept = replace(PLAIN, optimiser=optimiser), Checkpoint(tmp_path / "run.safetensors", "key", every=1)
    train(victim(DEVICE), replace(schedule, epochs=1), checkpoint=kept)
    resumed = victim(DEVICE)
    optimizer = optimiser_of(resumed, schedule)
    assert kept.resume(resumed, optimizer, torch.Generator()) == 1
    assert {value.is_contiguous() for value in resumed.parameters()} == {False, True}
    for value, buffers in optimizer.state.items():
        assert {one.stride() for name, one in buffers.items() if name != "step"} == {value.stride()}
    train(resumed, schedule, checkpoint=kept)
    whole = victim(DEVICE)
    train(whole, schedule)
    assert equal(resumed, whole)
    assert not gpu.faults


def victim(device: torch.device | None = None) -> nn.Module:
    """An untrained network, its weights channels-last as those of victims on a GPU are."""
    network = build("convnet", 3, "0.0625", HALF, HALF, generator=torch.Generator().manual_seed(1))
    return network.to(device=device).to(memory_format=torch.channels_last).train()


def train(model: nn.Module, schedule: Schedule, **options: Any) -> None:
    """Train it on 20 random images, without views."""
    generator, device = torch.Generator().manual_seed(2), next(model.parameters()).device
    images = torch.rand(20, 3, 8, 8, generator=generator).to(device)

    def look(here: Tensor, _views: Tensor) -> Tensor:
        return images[here]

    fit(model, look, (torch.arange(20) % 3).to(device), schedule, generator=generator, **options)


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_the_greedy_pairing_is_that_of_the_cpu(gpu: Gpu) -> None:
    distances = torch.rand((4, 9, 9), generator=torch.Generator().manual_seed(0))
    before = torch.arange(9).repeat(4, 1)
    found = greedy(distances.to(DEVICE), before.to(DEVICE))
    assert found.cpu().tolist() == greedy(distances, before).tolist()
    assert not gpu.faults


def test_tf32_is_in_force_in_the_passes_that_it_is_meant_for(
    gpu: Gpu, digits: Base, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, surrogates' passes and features; results are measured in float32."""
    seen: list[tuple[bool, str]] = []
    stages = Classifier.stages

    def watched(self: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.is_cuda:
            seen.append((self.training, torch.backends.cuda.matmul.fp32_precision))
        return stages(self, images)

    monkeypatch.setattr(Classifier, "stages", watched)
    pretraining = Pretraining("convnet", (0, 1), epochs=1, width="0.0625", batch=64, images=100, precision="tf32")
    trained = train_network(pretraining, digits, device=DEVICE).network
    assert set(seen) == {(True, "tf32"), (False, "ieee")}
    seen.clear()
    images = torch.zeros(3, 8, 8, 3, dtype=torch.uint8, device=DEVICE)
    FeatureCache(trained, images, pad=0, flip=False, precision="tf32").plain()
    assert seen == [(False, "tf32")]
    seen.clear()
    asked = ["--base", "digits", "--trials", "0", "--poisons", "5", "--set", "steps=1", "--surrogate", str(network)]
    out = ["--precision", "tf32", "--device", "cuda", "-q", "-o", str(tmp_path / "set")]
    assert run(["craft", "bullseye-polytope", *asked, *out]) == 0
    assert set(seen) == {(False, "tf32")}
    assert not gpu.faults
