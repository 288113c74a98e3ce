"""The training loop: what an interruption changes (nothing), and that each setting is the one it is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poisonsets.manifests.errors import DamagedError, ViolationError
from poisonsets.manifests.files import array_file
from poisonsets.methods.augment import augment_images
from poisonsets.victims.networks import Classifier, build
from poisonsets.victims.protocols import parse
from poisonsets.victims.training.checkpoint import Checkpoint
from poisonsets.victims.training.loop import Schedule, drawn_views, fit, optimiser_of, schedule_of
from poisonsets.victims.training.pretraining import Pretraining
from poisonsets.victims.training.views import apply_shifts, apply_views, as_input

PLAIN = Schedule(4, 8, "0.05", (1, 3), "0.1", "0.9", "0.001", 2, True)
HALF = ("0.5", "0.5", "0.5")


def some(count: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 8, 8, 3), dtype=torch.uint8, generator=generator)
    return images, torch.arange(count) % 3


def tiny(name: str = "resnet18", width: str = "0.0625") -> Classifier:
    return build(name, 3, width, HALF, HALF, generator=torch.Generator().manual_seed(1)).train()


def trained(schedule: Schedule, model: nn.Module | None = None, **options: Any) -> dict[str, Tensor]:
    images, labels = some()
    model = model or tiny()

    def transform(here: Tensor, views: Tensor) -> Tensor:
        if schedule.augment == "sub-pixel":
            return apply_shifts(images[here], views, 2, flip=True, outside=torch.full((1, 3, 1, 1), 0.5))
        return apply_views(images[here], views, schedule.pad, flip=schedule.flip)

    fit(model, transform, labels, schedule, generator=torch.Generator().manual_seed(2), **options)
    return model.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "changes",
    [{}, {"nesterov": True}, {"momentum": "0"}, {"optimiser": "adam"}, {"optimiser": "adamw", "augment": "sub-pixel"}],
    ids=str,
)
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_run_ends_in_the_same_bytes(tmp_path: Path, changes: dict[str, Any], after: int) -> None:
    schedule = replace(PLAIN, **changes)
    kept = Checkpoint(tmp_path / "run.safetensors", "key", every=2)

    def kill(done: int, _all: int) -> None:
        if done == after:
            raise KilledError

    with pytest.raises(KilledError):
        trained(schedule, checkpoint=kept, progress=kill)
    assert kept.path.exists() == (after >= 2)
    epochs: list[int] = []
    resumed = trained(schedule, checkpoint=kept, progress=lambda done, _all: epochs.append(done))
    assert epochs == ([3, 4] if after >= 2 else [1, 2, 3, 4])
    assert equal(resumed, trained(schedule))
    assert equal(trained(schedule, checkpoint=kept, progress=lambda *_: pytest.fail("a finished run goes on")), resumed)
    kept.remove()
    assert not kept.path.exists()


def test_a_checkpoint_of_another_run_or_with_other_bytes_is_refused(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "run.safetensors", "key", every=1)
    trained(PLAIN, checkpoint=kept)
    data = bytearray(kept.path.read_bytes())
    with pytest.raises(DamagedError, match="another run"):
        trained(PLAIN, checkpoint=replace(kept, key="other"))
    for change in (slice(len(data) - 9, len(data) - 8), slice(20, 21), slice(0, 1)):
        broken = data.copy()
        broken[change] = bytes([broken[change][0] ^ 1])
        kept.path.write_bytes(broken)
        with pytest.raises(DamagedError, match="Remove"):
            trained(PLAIN, checkpoint=kept)
    kept.path.write_bytes(data)
    with pytest.raises(DamagedError, match="no checkpoint"):
        trained(PLAIN, tiny(width="0.125"), checkpoint=kept)


def test_a_checkpoint_with_a_buffer_of_no_parameter_is_refused(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "run.safetensors", "key", every=1)
    trained(PLAIN, checkpoint=kept)
    record, arrays = {"key": "key", "epochs": 4}, {"optimiser.999.momentum_buffer": np.zeros(1, np.float32)}
    whole = array_file.read(kept.path, lambda _record: None, limit=1 << 30, remedy="")
    array_file.write(kept.path, record, whole.arrays | arrays)
    with pytest.raises(DamagedError, match="no checkpoint of this victim"):
        trained(PLAIN, checkpoint=kept)


def by_hand(values: list[Tensor], gradients: Iterator[list[Tensor]], schedule: Schedule) -> None:
    """The published update rules, in float64."""
    rate, decay, beta = (float(x) for x in (schedule.learning_rate, schedule.weight_decay, schedule.momentum))
    first = [torch.zeros_like(value) for value in values]
    second = [torch.zeros_like(value) for value in values]
    for step, found in enumerate(gradients, start=1):
        for place, (value, gradient) in enumerate(zip(values, found, strict=True)):
            if schedule.optimiser == "adamw":
                value.sub_(rate * decay * value)
            else:
                gradient = gradient + decay * value
            if schedule.optimiser == "sgd":
                first[place] = beta * first[place] + gradient
                value.sub_(rate * (gradient + beta * first[place] if schedule.nesterov else first[place]))
            else:
                first[place] = beta * first[place] + (1 - beta) * gradient
                second[place] = 0.999 * second[place] + 0.001 * gradient**2
                size = (second[place] / (1 - 0.999**step)).sqrt() + 1e-8
                value.sub_(rate * first[place] / (1 - beta**step) / size)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_the_optimisers_are_those_of_their_papers(optimiser: Any, nesterov: bool) -> None:
    schedule = replace(PLAIN, optimiser=optimiser, nesterov=nesterov and optimiser == "sgd", momentum="0.8")
    schedule = replace(schedule, weight_decay="0.1")
    layer = nn.Linear(3, 2).double()
    targets = torch.tensor([[1.0, 2.0, -1.0], [0.5, -2.0, 1.0]], dtype=torch.float64)
    values = [value.detach().clone() for value in layer.parameters()]

    def gradients() -> Iterator[list[Tensor]]:
        for _ in range(5):
            copies = [value.clone().requires_grad_() for value in values]
            loss = F.cross_entropy(F.linear(targets, *copies), torch.tensor([0, 1]))
            yield list(torch.autograd.grad(loss, copies))

    by_hand(values, gradients(), schedule)
    optimizer = optimiser_of(layer, schedule)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(layer(targets), torch.tensor([0, 1])).backward()
        optimizer.step()
    for value, wanted in zip(layer.parameters(), values, strict=True):
        torch.testing.assert_close(value.detach(), wanted, rtol=1e-9, atol=1e-12)


def test_only_what_requires_a_gradient_is_trained() -> None:
    network = tiny()
    network.body.requires_grad_(requires_grad=False)
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    trained(replace(PLAIN, epochs=1), network)
    moved = {name for name, tensor in network.named_parameters() if not torch.equal(tensor, before[name])}
    assert moved == {"head.weight", "head.bias"}


def test_bf16_computes_coarsely_and_keeps_float32_weights() -> None:
    short = replace(PLAIN, epochs=1)
    exact, coarse = trained(short, tiny("convnet")), trained(short, tiny("convnet"), precision="bf16")
    assert {name: tensor.dtype for name, tensor in coarse.items()} == {n: t.dtype for n, t in exact.items()}
    assert not equal(exact, coarse)
    assert equal(coarse, trained(short, tiny("convnet"), precision="bf16"))
    torch.testing.assert_close(exact["head.weight"], coarse["head.weight"], rtol=0, atol=0.02)


def test_a_run_that_diverges_is_refused_after_the_epoch() -> None:
    with pytest.raises(ViolationError, match=r"epoch 1: tensor .* is not finite at learning rate 99999"):
        trained(replace(PLAIN, learning_rate="99999"), tiny("convnet"))


def test_nothing_of_the_global_random_state_is_used() -> None:
    state = torch.get_rng_state()
    trained(replace(PLAIN, epochs=1, augment="sub-pixel"))
    assert torch.equal(state, torch.get_rng_state())


def test_a_schedule_is_read_from_recipes_and_protocols() -> None:
    pretraining = Pretraining("convnet", (0, 1), epochs=3, lr_milestones=(1,), learning_rate="0.5", pad=1)
    assert schedule_of(pretraining) == Schedule(3, 128, "0.5", (1,), "0.1", "0.9", "0.0002", 1, False)
    protocol = parse("witches-brew-cifar10/resnet18@epochs=3")
    wanted = Schedule(3, 128, "0.1", (14, 24, 35), "0.1", "0.9", "0.0005", 4, True, "sgd", True, "sub-pixel")
    assert schedule_of(protocol) == wanted


def test_sub_pixel_views_are_those_that_crafting_uses() -> None:
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (6, 16, 16, 3), dtype=torch.uint8, generator=generator)
    draws = drawn_views(replace(PLAIN, augment="sub-pixel"), 6, generator)
    outside = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    for flip in (False, True):
        found = apply_shifts(images, draws, 2, flip=flip, outside=outside)
        torch.testing.assert_close(
            found, augment_images(as_input(images), draws, outside, mirror=flip), rtol=0, atol=2e-6
        )
    # In the middle of the range nothing moves; at its end an image moves by the whole reach.
    still = torch.tensor([[0.5, 0.5, 0.0]]).expand(6, 3)
    torch.testing.assert_close(apply_shifts(images, still, 2, flip=True, outside=outside), as_input(images))
    moved = apply_shifts(images, torch.tensor([[1.0, 0.5, 0.0]]).expand(6, 3), 3, flip=True, outside=outside)
    torch.testing.assert_close(moved[..., :-3], as_input(images)[..., 3:], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[..., -3:], outside.expand(6, 3, 16, 3), rtol=0, atol=1e-5)
