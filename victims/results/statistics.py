"""Intervals and tests for success rates: Wilson, exact McNemar, bootstrap over trials."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm

from poisonsets.manifests.errors import UsageError


class Interval(NamedTuple):
    """A 95 % interval of a rate, both ends in 0..1."""

    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """The 95 % Wilson score interval of a rate, for independent trials of one network.

    Source: Wilson (1927), without continuity correction, as scipy computes it. 85 of 100 gives 0.767..0.907.

    Raises:
        UsageError: n is not positive, or successes are not in 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise UsageError(f"an interval of {successes} successes in {n} trials, wanted 0..n in at least 1")
    interval = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def wilson_of_mean(mean: float, n: int) -> Interval:
    """The Wilson interval of a mean in 0..1 of n independent values in 0..1, which need not be 0 or 1.

    The formula of `wilson` with `mean` in place of successes / n. Values between 0 and 1 vary less than 0 and 1 with
    the same mean, so the interval is at least as wide as needed.

    Raises:
        UsageError: n is not positive, or the mean is not in 0..1.
    """
    if n < 1 or not 0 <= mean <= 1:
        raise UsageError(f"an interval of a mean of {mean} over {n} trials, wanted 0..1 over at least 1")
    z = float(norm.ppf(0.975))
    centre = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (mean * (1 - mean) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar_exact(b: int, c: int) -> float:
    """The two-sided p value of the exact McNemar test, in 0..1; 1 where no pair differs.

    It is the probability of a split at least as uneven when both are equally likely.

    Args:
        b, c: pairs where only the first of the pair succeeded, and where only the second did.

    Raises:
        UsageError: a count is negative.
    """
    if b < 0 or c < 0:
        raise UsageError(f"McNemar's counts are {b} and {c}, wanted none below 0")
    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P values adjusted for how many there are by Holm's step-down method, in their order, each in 0..1.

    Source: Holm (1979): the k-th smallest of m (k from 0) times m - k, never below one before it, at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, floor = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return tuple(adjusted)


def bootstrap_over_trials(values: ArrayLike, seed: int, *, draws: int = 10_000) -> Interval:
    """The 95 % percentile bootstrap interval of the mean, whole trials drawn with replacement.

    Victims of one trial share its poisons, so they are drawn together. Where every trial has the same mean the interval
    has no width, which says nothing about unseen trials.

    Args:
        values: [trials, victims] of 0 and 1 or of rates.
        seed: of the numpy generator.
        draws: resampled means; more makes the ends steadier.

    Raises:
        UsageError: values are not a table with at least one trial and one victim.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise UsageError(f"values have shape {list(table.shape)}, wanted [trials, victims]")
    trial_means = table.mean(axis=1)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(trial_means), np.full(len(trial_means), 1 / len(trial_means)), size=draws)
    means = counts @ trial_means / len(trial_means)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))
