"""How long an audit will take, from one measured pass of the attacker's network, before anything is crafted."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

import torch

from poisonsets.experiments.audit.plan import AIMED, BACKDOOR, AuditPlan, Cell
from poisonsets.surrogates import Surrogate
from poisonsets.victims.precision import exact_arithmetic
from poisonsets.victims.training.views import as_input, view_count

IMAGES: Final = 32  # of a measured pass
REPETITIONS: Final = 9
LONG_ENOUGH: Final = 3.0  # seconds, after which no further pass is measured
STARTING: Final = 5.0  # seconds until the processes of a pool work
HEADS: Final = 3.0  # seconds for the heads of a cell, beside its features
BACKWARD: Final = 2.0  # what training a whole network costs beside its forward pass


@dataclass(frozen=True)
class Speed:
    """Seconds an image, on one core or GPU: of a forward pass, and of a step of an attack."""

    forward: float
    step: float


def measure(plan: AuditPlan, device: torch.device) -> Speed:
    """Time passes of the surrogate on some of the photographs, forward and back to the images."""
    surrogate = Surrogate(plan.surrogate.network, tuple(plan.surrogate.record["classes"]), device)
    images = as_input(torch.from_numpy(plan.base.train.images[:IMAGES])).to(device)

    def forward() -> None:
        with torch.no_grad():
            surrogate.features(images).sum().item()

    def step() -> None:
        tracked = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(surrogate.features(tracked).square().sum(), tracked)
        gradient.sum().item()

    with exact_arithmetic():
        forward()  # the first pass also folds the network
        return Speed(_timed(forward) / len(images), _timed(step) / len(images))


def _timed(work: Callable[[], None]) -> float:
    """Median seconds of some repetitions: other processes disturb single ones."""
    found: list[float] = []
    while len(found) < REPETITIONS and sum(found) < LONG_ENOUGH:
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return median(found)


def seconds(plan: AuditPlan, speed: Speed, workers: int) -> float:
    """Seconds that a plan takes at this speed with so many processes, each on a core of its own."""
    steps = sum(plan.trials * plan.steps * one.poisons for one in plan.sets if one.attack == AIMED)
    starts = sum(one.attack == AIMED for one in plan.sets) + 1
    heads = [_of_heads(plan, cell, speed) for cell in plan.cells if cell.victims.protocol.training == "frozen"]
    whole = [_of_networks(plan, cell, speed) for cell in plan.cells if cell.victims.protocol.training != "frozen"]
    # Heads of a cell are not shared out: the longest cell bounds the time from below.
    scoring = max(sum(heads) / workers, *heads) + sum(whole) / workers
    return starts * STARTING + steps * speed.step / workers + scoring


def _of_heads(plan: AuditPlan, cell: Cell, speed: Speed) -> float:
    """Seconds of a cell on frozen features: forward passes of clean images, of poisons, and of what is classified."""
    protocol = cell.victims.protocol
    views = view_count(protocol.pad, flip=protocol.flip)
    seen = views * (1 - (1 - 1 / views) ** protocol.epochs)  # different views that an image is expected to be drawn in
    images = seen * (len(plan.base.train.labels) + plan.trials * cell.poisoned.poisons)
    return HEADS + (images + _tested(plan, cell)) * speed.forward


def _of_networks(plan: AuditPlan, cell: Cell, speed: Speed) -> float:
    """Seconds of a cell of whole networks, with the control that all its victims share."""
    trained = cell.victims.protocol.epochs * len(plan.base.train.labels) * (1 + BACKWARD)
    return (plan.trials + 1) * (trained + _tested(plan, cell)) * speed.forward


def _tested(plan: AuditPlan, cell: Cell) -> int:
    """Images that victims classify; a trigger makes other images of them in every trial."""
    return len(plan.base.test.labels) * (plan.trials if cell.poisoned.attack == BACKDOOR else 1)


def in_words(duration: float) -> str:
    """A duration as people say it: `about 6 minutes`."""
    if duration < 50:
        return "less than a minute"
    minutes = round(duration / 60)
    if minutes < 90:
        return f"about {minutes} minute{'' if minutes == 1 else 's'}"
    return f"about {duration / 3600:.1f} hours"
