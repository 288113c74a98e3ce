"""One step of gradient matching beside double backward as the published code has it, in time and in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from benchmarks.bench import Case
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from poisonsets.methods.gradients import cosine, match_gradient, weight_gradient
from poisonsets.surrogates import Surrogate
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.networks.classifier import ConvBN

POISONS, CLASSES = 16, 10


def cases() -> list[Case]:
    """The step at two widths, its time and its memory, the latter beside that of a plain forward and backward pass."""
    found = []
    for width, goal in (("0.25", 2.2), ("1", 1.9)):
        ours, double, once = _sides(width)
        found.append(
            Case(
                name=f"gradient matching, one step, resnet18 x{width}",
                ours=ours,
                plain=double,
                unit="CPU s",
                goal=goal,
                note=f"{POISONS} poisons, fp32; plain: double backward, batch normalisation as a layer of its own, "
                "loss.backward() into perturbation and parameters",
            )
        )
        found.append(
            Case(
                name=f"gradient matching, memory, resnet18 x{width}",
                ours=ours,
                plain=once,
                unit="MB",
                goal=1 / 2.4,
                note="most bytes allocated at a time; plain: one forward and backward pass of the same batch, so that "
                "a ratio of 1/2.4 is 2.4 times its memory",
                measure=peak_megabytes,
            )
        )
    return found


def peak_megabytes(side: Callable[[], object]) -> float:
    """The most memory that PyTorch's allocator handed out at a time during a call, over what it had before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        side()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    held, most = 0, 0
    for _, change in sorted(changes):
        held += change
        most = max(most, held)
    return most / 1e6


class _Apart(nn.Module):
    """A convolution and its batch normalisation as two layers, as they stand in the published code's networks."""

    def __init__(self, pair: ConvBN) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.pair.bn(self.pair.conv(images))
        return found


def taken_apart(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, ConvBN):
            setattr(module, name, _Apart(child))
        else:
            taken_apart(child)


def _sides(width: str) -> tuple[Callable[[], object], Callable[[], object], Callable[[], object]]:
    """Our step, the published one, and one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    normal = (("0.5", "0.5", "0.5"), ("0.25", "0.25", "0.25"))
    network = build("resnet18", CLASSES, width, *normal, generator=generator).eval()
    images = torch.rand(POISONS, 3, 32, 32, generator=generator)
    labels = torch.full((POISONS,), 3)
    target = torch.rand(1, 3, 32, 32, generator=generator)
    surrogate = Surrogate(network, tuple(range(CLASSES)), torch.device("cpu"))
    wanted = weight_gradient(surrogate, target, labels[:1])
    network.to(memory_format=torch.contiguous_format)
    taken_apart(network)
    aims = torch.autograd.grad(F.cross_entropy(network(target), labels[:1]), list(network.parameters()))

    def ours() -> Tensor:
        return match_gradient(surrogate, images, labels, cosine(wanted))[1]

    return ours, partial(double_backward, network, images, labels, aims), partial(_once, network, images, labels)


def double_backward(network: Classifier, images: Tensor, labels: Tensor, aims: tuple[Tensor, ...]) -> Tensor | None:
    perturbation = torch.zeros_like(images, requires_grad=True)
    loss = F.cross_entropy(network(images + perturbation), labels)
    found = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    product = sum(((aim * one).sum() for aim, one in zip(aims, found, strict=True)), torch.zeros(()))
    lengths = [sum((one.square().sum() for one in side), torch.zeros(())).sqrt() for side in (aims, found)]
    (1 - product / (lengths[0] * lengths[1])).backward()
    network.zero_grad()
    return perturbation.grad


def _once(network: Classifier, images: Tensor, labels: Tensor) -> None:
    F.cross_entropy(network(images), labels).backward()
    network.zero_grad()
