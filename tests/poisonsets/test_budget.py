"""Floats become levels inside the budget, exactly: compared with slow integer arithmetic."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from poisonsets.budget import project, to_levels
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.records.trial import L2, Linf, Unconstrained

SHAPE = (2, 3, 4, 3)  # N, H, W, channel
BASES = arrays.arrays(np.uint8, SHAPE)
# In hundredths of a level, below black and above white too; never half-way, where float32 need not see the tie.
HUNDREDTHS = arrays.arrays(np.int64, SHAPE, elements=st.integers(-5000, 30_000).filter(lambda n: n % 100 != 50))
RADII = st.integers(1, 255)
SQUARES = st.integers(1, 255**2 * 36)
few = settings(max_examples=60, deadline=None)


def floats(images: Images) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def wished(hundredths: np.ndarray) -> Tensor:
    """float32 [N, 3, H, W], an attack's wish."""
    return torch.from_numpy(hundredths / 25_500).float().permute(0, 3, 1, 2)


def nearest_level(hundredths: int) -> int:
    return min(255, max(0, (hundredths + 50) // 100))


@few
@given(BASES, HUNDREDTHS, RADII)
def test_linf_levels_are_those_of_integer_arithmetic(bases: Images, hundredths: np.ndarray, radius: int) -> None:
    found = to_levels(wished(hundredths), bases, Linf(levels=radius))
    assert found.dtype == np.uint8
    for base, wish, level in zip(
        bases.ravel().tolist(), hundredths.ravel().tolist(), found.ravel().tolist(), strict=True
    ):
        assert level == min(base + radius, max(base - radius, nearest_level(wish)))


def shrunk(delta: list[int], square: int) -> list[int]:
    """The perturbation times the largest share k / 65536 at which it is inside, by trying every share."""
    shares = np.arange((1 << 16) + 1)[:, None]
    sizes = (2 * np.abs(delta) * shares + (1 << 16)) // (2 << 16)
    fitting = np.flatnonzero((sizes**2).sum(axis=1) <= square)
    return (np.sign(delta) * sizes[fitting[-1]]).tolist()


@settings(max_examples=25, deadline=None)
@given(BASES, HUNDREDTHS, SQUARES)
def test_l2_levels_are_inside_and_cut_no_more_than_needed(bases: Images, hundredths: np.ndarray, square: int) -> None:
    found = to_levels(wished(hundredths), bases, L2(squared_levels=square))
    for base, wish, image in zip(bases, hundredths, found, strict=True):
        before = [nearest_level(n) - b for n, b in zip(wish.ravel().tolist(), base.ravel().tolist(), strict=True)]
        after = [level - b for level, b in zip(image.ravel().tolist(), base.ravel().tolist(), strict=True)]
        assert after == shrunk(before, square)
        assert sum(d * d for d in after) <= min(square, sum(d * d for d in before))
        assert all(old * new >= 0 and abs(new) <= abs(old) for old, new in zip(before, after, strict=True))
        if sum(d * d for d in before) <= square:
            assert after == before


@few
@given(BASES, HUNDREDTHS)
def test_without_a_constraint_levels_are_the_nearest(bases: Images, hundredths: np.ndarray) -> None:
    found = to_levels(wished(hundredths), bases, Unconstrained())
    assert found.ravel().tolist() == [nearest_level(n) for n in hundredths.ravel().tolist()]
    clamped = project(wished(hundredths), floats(bases), Unconstrained())
    assert torch.equal(clamped, wished(hundredths).clamp(0, 1))


def ramp() -> Tensor:
    """Every level, as float32 [1, 3, 16, 16]."""
    return (torch.arange(256).float() / 255).view(1, 1, 16, 16).expand(1, 3, -1, -1).contiguous()


@pytest.mark.parametrize("radius", range(1, 65))
def test_rounding_to_nearest_keeps_a_projected_image_inside(radius: int) -> None:
    """Without the help of the clip in `to_levels`, which gets no constraint here."""
    base = torch.arange(256).numpy()
    unused = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    for sign in (-1, 1):
        edge = project(ramp() + sign, ramp(), Linf(levels=radius))
        found = to_levels(edge, unused, Unconstrained())[0, :, :, 0].ravel()
        assert np.array_equal(found, np.clip(base + sign * radius, 0, 255))


def test_truncation_would_leave_the_budget() -> None:
    """Eight levels down: (b / 255 - 8 / 255) * 255 falls short of b - 8 for some b, and its whole part is b - 9."""
    edge = project(ramp() - 1, ramp(), Linf(levels=8))[0, 0].flatten()
    truncated = (edge * 255).to(torch.int64)
    assert int((torch.arange(256) - truncated).max()) == 9


def test_truncation_would_move_levels_that_were_only_normalised_and_back() -> None:
    """With CIFAR-10's red channel: 61 of the 256 levels, none after rounding to nearest."""
    mean, std = 0.4914, 0.2023
    back = (ramp() - mean) / std * std + mean
    levels = torch.arange(256)
    assert int(((back[0, 0].flatten() * 255).to(torch.int64) != levels).sum()) > 40
    unused = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    assert np.array_equal(to_levels(back, unused, Unconstrained())[0, :, :, 0].ravel(), levels.numpy())


@few
@given(BASES, HUNDREDTHS, RADII)
def test_linf_projection_is_the_nearest_point_and_stays(bases: Images, hundredths: np.ndarray, radius: int) -> None:
    wish, origin = wished(hundredths), floats(bases)
    found = project(wish, origin, Linf(levels=radius))
    assert torch.equal(project(found, origin, Linf(levels=radius)), found)
    low, high = (origin - radius / 255).clamp(0, 1), (origin + radius / 255).clamp(0, 1)
    assert bool(((found >= low) & (found <= high)).all())
    allowed = torch.stack([low + (high - low) * i / 100 for i in range(101)])
    assert bool(((found - wish).abs() <= (allowed - wish).abs().min(0).values + 1e-6).all())


@few
@given(BASES, st.integers(0, 2**32), SQUARES)
def test_l2_projection_is_the_nearest_point_and_stays(bases: Images, seed: int, square: int) -> None:
    """Where no pixel is clipped: bases in the middle third of the range, and a radius that cannot reach its ends."""
    budget = L2(squared_levels=min(square, 80**2))
    radius = math.sqrt(budget.squared_levels) / 255
    draw = torch.Generator().manual_seed(seed)
    origin = 1 / 3 + floats(bases) / 3
    wish = origin + torch.randn(origin.shape, generator=draw)
    found = project(wish, origin, budget)
    assert torch.allclose(project(found, origin, budget), found, atol=1e-6)
    assert bool(((found - origin).flatten(1).norm(dim=1) <= radius + 1e-6).all())
    for _ in range(20):
        other = torch.randn(origin.shape, generator=draw)
        other = origin + other * (radius / other.flatten(1).norm(dim=1))[:, None, None, None]
        assert bool(((found - wish).flatten(1).norm(dim=1) <= (other - wish).flatten(1).norm(dim=1) + 1e-5).all())


def test_an_l2_projection_leaves_what_is_inside_and_never_moves_away() -> None:
    origin = ramp()
    inside = (origin + 0.001).clamp(0, 1)
    assert torch.allclose(project(inside, origin, L2(squared_levels=10**6)), inside, atol=1e-7)
    budgets = (L2(squared_levels=10**power) for power in range(0, 7, 2))
    lengths = [float((project(1 - origin, origin, budget) - origin).norm()) for budget in budgets]
    assert all(shorter < longer for shorter, longer in pairwise(lengths))
    assert torch.equal(project(origin, origin, L2(squared_levels=1)), origin)
