"""Whatever is registered runs on a GPU as on the CPU: attacks, networks, suites, and every way to score.

What takes steps is in `test_steps`. Results are equal, but for rounding where SGD is fused on a GPU; labels are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from device.fake_gpu import DEVICE, MODEL, Gpu, fake_gpu
from device.measured import BATCH, HALF, job
from forge import small_base, small_set
from torch import Tensor

from poisonsets import attacks
from poisonsets.experiments.laws.tiny_tasks import craft
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.sets.reader import PoisonSet, open_set
from poisonsets.victims import networks
from poisonsets.victims.features.store import ENOUGH_TRIALS
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights
from poisonsets.victims.protocols import Protocol, parse, suite, suites
from poisonsets.victims.scoring import score
from poisonsets.victims.scoring.score import score_set
from poisonsets.victims.trainers.linear_probe.trainer import LinearProbeTrainer
from poisonsets.victims.trainers.predictions import Predictions
from poisonsets.victims.trainers.whole_network.trainer import WholeNetworkTrainer

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SIDE = 16
MEASURED = {"device", "gpu", "peak_memory_bytes", "seconds"}
STEPLESS = [entry for entry in attacks.attacks().values() if "steps" not in entry.defaults()]
# One small network of each collection; of a collection that is not named here, its first.
MEMBERS = {"timm": "mobilenetv3_small_050", "torchvision": "shufflenet_v2_x0_5"}


def on_both(work: Callable[[torch.device], Any]) -> tuple[Any, Any, Gpu]:
    """What a work gives on the CPU and on the GPU, which must not have minded it."""
    wanted = work(CPU)
    with fake_gpu() as gpu:
        found = work(DEVICE)
    assert not gpu.faults
    assert not gpu.random
    return wanted, found, gpu


@pytest.mark.parametrize("entry", STEPLESS, ids=lambda entry: entry.name)
def test_an_attack_without_steps_gives_the_poisons_of_the_cpu(entry: Any) -> None:
    wanted, found, _ = on_both(lambda device: craft(entry, device=device).images.cpu())
    assert torch.equal(wanted, found)


def spelled() -> list[str]:
    """A name of every family and of every collection."""
    collected = networks._COLLECTIONS.items()
    return [*networks.names(), *(f"{prefix}:{MEMBERS.get(prefix) or one.members()[0]}" for prefix, one in collected)]


def of_width(name: str) -> Classifier:
    width = "1" if ":" in name else "0.0625"
    return build(name, 2, width, HALF, HALF, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", spelled())
def test_a_network_computes_what_it_computes_on_the_cpu(name: str) -> None:
    """One pass forward and one back, in training mode; victims below also compute in the other."""
    made = of_width(name)
    side = max(SIDE, made.body.smallest)
    images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(2))
    state = {key: value.clone() for key, value in made.state_dict().items()}

    def passes(device: torch.device) -> list[Tensor]:
        made.load_state_dict(state)
        network = made.to(device)
        network.zero_grad()
        logits = network(images.to(device))
        torch.autograd.backward(logits.square().sum())
        return [
            one.cpu() for one in (logits, *(value.grad for value in network.parameters() if value.grad is not None))
        ]

    wanted, found, gpu = on_both(passes)
    assert gpu.launches.total() > 10
    assert len(wanted) > 2
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


def of_each_training() -> list[Protocol]:
    """Of every suite the first protocol of each training and optimiser."""
    found = {(one.suite, one.training, one.optimiser): one for name in suites() for one in reversed(suite(name))}
    return list(found.values())


@pytest.mark.parametrize("protocol", of_each_training(), ids=lambda protocol: protocol.id)
def test_a_suites_victims_predict_what_they_predict_on_the_cpu(protocol: Protocol) -> None:
    network = of_width(protocol.network).eval()
    base = small_base(classes=2, each=BATCH, side=max(SIDE, network.body.smallest))
    tiny = replace(
        protocol,
        epochs=1,
        batch=2 * BATCH,
        lr_milestones=(),
        learning_rate="0.0001",
        width=network.spec.width,
        size=None if protocol.size is None else 2 * BATCH,
    )

    def predictions(device: torch.device) -> Any:
        if tiny.batched:  # with forward passes of 32 images
            trainer: Any = LinearProbeTrainer(tiny, network, base, device, halvings=1 if device == CPU else 5)
        else:
            trainer = WholeNetworkTrainer(tiny, network, base, device)
        return trainer.predictions([job(base)])

    wanted, found, gpu = on_both(predictions)
    assert isinstance(found[0], Predictions)
    assert found == wanted
    assert gpu.launches.total() > 50


@dataclass(frozen=True)
class Way:
    """A way to score."""

    protocol: str
    options: dict[str, Any] = field(default_factory=dict)


FROZEN, WHOLE = "digits-transfer/convnet@pad=1,", "digits-scratch/convnet@"
TINY = "composition=in-place,epochs=1,lr_milestones=none,batch=12,width=0.25,learning_rate=0.1"
PATHS = {
    "frozen": Way(FROZEN),
    "frozen, from a file": Way(FROZEN, {"victim_seeds": tuple(range(ENOUGH_TRIALS))}),
    "frozen, fp32": Way(FROZEN, {"features": "fp32"}),
    "frozen, another optimiser": Way("digits-transfer/convnet@pad=0,optimiser=adamw,"),
    "frozen, with trajectories": Way(FROZEN, {"trajectories": True}),
    "end to end": Way(f"{FROZEN}training=end-to-end,"),
    "from scratch": Way(WHOLE),
    "from scratch, bf16": Way(WHOLE, {"precision": "bf16"}),
    "from scratch, with trajectories": Way(WHOLE, {"trajectories": True}),
}


@pytest.fixture(scope="module")
def base() -> Base:
    return small_base(classes=2, each=12, side=16)


@pytest.fixture(scope="module")
def made(base: Base, tmp_path_factory: pytest.TempPathFactory) -> PoisonSet:
    return open_set(small_set(tmp_path_factory.mktemp("device") / "set", base))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    path = tmp_path_factory.mktemp("extractor") / "weights.safetensors"
    network = build("convnet", 2, "0.25", HALF, HALF, generator=torch.Generator().manual_seed(5))
    save_weights(path, network, {"classes": [0, 1]}, {"side": [16, 16]})
    return load_weights(path)


@dataclass
class Scorer:
    """Scores one set in several ways."""

    made: PoisonSet
    base: Base
    extractor: Weights
    folder: Path

    def rows(self, way: Way, device: torch.device, **more: Any) -> list[dict[str, Any]]:
        folder = self.folder / device.type
        protocol = parse(way.protocol + TINY)
        extractors = [] if protocol.training == "scratch" else [self.extractor]
        options = {"results": folder / "results", "cache": folder / "cache"} | way.options | more
        found = score_set(self.made, self.base, protocols=[protocol], extractors=extractors, device=device, **options)
        return [row.model_dump(exclude=MEASURED) for row in found.rows]


@pytest.fixture
def scorer(made: PoisonSet, base: Base, extractor: Weights, tmp_path: Path) -> Scorer:
    return Scorer(made, base, extractor, tmp_path)


@pytest.mark.parametrize("name", PATHS)
def test_a_score_gives_the_rows_of_the_cpu(scorer: Scorer, name: str) -> None:
    wanted, found, gpu = on_both(lambda device: scorer.rows(PATHS[name], device))
    assert found == wanted
    assert len(found) == 2 * len(PATHS[name].options.get("victim_seeds", [0]))
    assert gpu.launches.total() > 100
    with fake_gpu() as gpu:  # what is stored is read again, and nothing is computed
        assert scorer.rows(PATHS[name], DEVICE, resume=True) == wanted
    assert not gpu.launches


@pytest.mark.parametrize("name", ["frozen", "from scratch"])
def test_workers_compute_on_the_gpu_that_was_asked_for(
    scorer: Scorer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of their own would know no fake GPU, so here what they are given is done in this one."""
    asked: list[int] = []

    def here(items: Any, make: Callable[[int], Any], *, workers: int, progress: Any) -> Any:
        asked.append(workers)
        made = [make(worker) for worker in range(workers)]
        for number, item in enumerate(items):
            yield made[number % workers].run(item, progress)

    wanted = scorer.rows(PATHS[name], CPU)
    monkeypatch.setattr(score, "run_all", here)
    with fake_gpu() as gpu:
        found = scorer.rows(PATHS[name], DEVICE, workers=2)
    assert asked == [2]
    assert found == wanted
    assert not gpu.faults
    assert not gpu.random
    stored = (scorer.folder / "cuda" / "results" / "rows").iterdir()
    assert all(MODEL in row.read_text() for row in stored)
