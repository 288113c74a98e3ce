"""What takes steps runs on a GPU as on the CPU: nothing refused, nothing random, no wait that is not in the table."""

from __future__ import annotations

import pytest
import torch
from device.figures import held
from device.measured import measured, works

from poisonsets.attacks import attacks

pytestmark = pytest.mark.slow

WORKS = dict(works())
ANEW = "run `PYTHONPATH=.:tests python tests/device/measured.py` and `make docs`"
# Its coefficients are solved on the CPU: what they are solved from goes there in each step, and they come back.
WAITING = {"`convex-polytope`"}
PAIRING = {"`hidden-trigger-backdoor`"}


@pytest.mark.parametrize("name", WORKS)
def test_it_runs_as_on_the_cpu_and_waits_as_often_as_the_table_says(name: str) -> None:
    """All at once: to measure takes seconds. SGD is fused on a GPU and rounds otherwise, so some results are close."""
    work, (cost, found, gpu) = WORKS[name], measured(name)
    assert not gpu.faults
    assert not gpu.random
    for one, other in zip(found, work.do(torch.device("cpu"), work.many, 1), strict=True):
        if work.exact:
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert (cost.waits, cost.epoch_waits) == (held()[name].waits, held()[name].epoch_waits), ANEW
    assert cost.launches == pytest.approx(held()[name].launches, rel=0.1), ANEW


def test_the_table_has_a_row_for_each_and_no_other() -> None:
    assert list(held()) == list(WORKS), ANEW


def test_no_step_waits_for_the_gpu_but_where_the_cpu_has_work_to_do() -> None:
    assert {name for name, cost in held().items() if cost.waits} == WAITING


def test_feature_attacks_launch_at_most_100_operators_but_where_the_page_says_why() -> None:
    features = {f"`{name}`" for name, entry in attacks().items() if entry.traits.objective == "feature"}
    assert {name for name in features & set(held()) if held()[name].launches > 100} == PAIRING | WAITING
