from __future__ import annotations

import math

import numpy as np
import pytest

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.results.statistics import bootstrap_over_trials, mcnemar_exact, wilson, wilson_of_mean


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(85, 100, 76.7, 90.7), (1, 100, 0.2, 5.4), (0, 10, 0.0, 27.8)]
)
def test_wilson_gives_the_known_figures(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


def test_wilson_is_symmetric_and_narrows() -> None:
    for successes in range(11):
        interval, mirrored = wilson(successes, 10), wilson(10 - successes, 10)
        assert interval.low == pytest.approx(1 - mirrored.high)
        assert interval.low <= successes / 10 <= interval.high
        wider = interval.high - interval.low
        narrower = wilson(10 * successes, 100)
        assert narrower.high - narrower.low < wider


def test_mcnemar_is_the_binomial_tail() -> None:
    for b in range(8):
        for c in range(8 - b):
            n, extreme = b + c, max(b, c)
            tail = sum(math.comb(n, k) for k in range(extreme, n + 1)) / 2**n
            assert mcnemar_exact(b, c) == pytest.approx(min(1.0, 2 * tail))


def test_bootstrap_draws_whole_trials() -> None:
    once = np.array([[1.0], [0.0], [1.0], [0.0], [0.0]])
    # Eight victims a trial that agree add nothing about the trials.
    assert bootstrap_over_trials(np.repeat(once, 8, axis=1), 3) == bootstrap_over_trials(once, 3)


def test_bootstrap_is_close_to_the_normal_interval_for_many_trials() -> None:
    values = (np.arange(400) % 4 == 0).astype(float)[:, None]
    low, high = bootstrap_over_trials(values, 1)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert low == pytest.approx(0.25 - half, abs=0.006)
    assert high == pytest.approx(0.25 + half, abs=0.006)


def test_bootstrap_is_seeded_and_leaves_the_global_state_alone() -> None:
    values = np.random.default_rng(0).random((30, 2))
    state = np.random.get_state()[1].copy()
    assert bootstrap_over_trials(values, 1) == bootstrap_over_trials(values, 1)
    assert bootstrap_over_trials(values, 1) != bootstrap_over_trials(values, 2)
    assert np.array_equal(state, np.random.get_state()[1])


def test_impossible_counts_are_refused() -> None:
    for successes, n in ((0, 0), (3, 2), (-1, 4)):
        with pytest.raises(UsageError):
            wilson(successes, n)
    with pytest.raises(UsageError):
        mcnemar_exact(-1, 2)
    for shape in ((0, 2), (3,), (2, 0)):
        with pytest.raises(UsageError):
            bootstrap_over_trials(np.zeros(shape), 0)


@pytest.mark.parametrize(("successes", "n"), [(0, 3), (3, 3), (7, 20), (85, 100), (1, 1)])
def test_the_interval_of_a_mean_is_that_of_a_rate(successes: int, n: int) -> None:
    assert wilson_of_mean(successes / n, n) == pytest.approx(wilson(successes, n), abs=1e-9)


def test_no_mean_has_no_interval() -> None:
    for mean, n in ((0.5, 0), (1.1, 3), (-0.1, 3), (float("nan"), 3)):
        with pytest.raises(UsageError, match="interval"):
            wilson_of_mean(mean, n)
