"""Rows to rates: per protocol and extractor the success rate beside its clean control, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.results import Row
from poisonsets.victims.statistics import Interval, bootstrap_over_trials, mcnemar_exact, wilson

METRIC = "targets classified as the adversarial label after training on the poisons"


@dataclass(frozen=True)
class Rate:
    """Successes among n victims, and the 95 % interval of their rate."""

    successes: int
    n: int
    interval: Interval


@dataclass(frozen=True)
class Summary:
    """The victims of one protocol and extractor.

    Attributes:
        protocol: its id.
        extractor: digest of the extractor's weights.
        network, width: the extractor's shape.
        threat_levels: those of the trials, each once.
        trials, victim_seeds: how many of each; with one victim seed intervals are Wilson's, with several
            bootstrap intervals over trials.
        poisoned: victims trained on the poisons.
        control: clean controls, counted by the same metric; None where no trial has one.
        mcnemar_p: exact McNemar p value of poisoned against control over trials that have both. None
            without such trials, and with several victim seeds, because victims of one trial are not
            independent.
        clean: correct and all test predictions of the poisoned victims, summed.
        control_clean: the same of the controls.
    """

    protocol: str
    extractor: str
    network: str
    width: str
    threat_levels: tuple[str, ...]
    trials: int
    victim_seeds: int
    poisoned: Rate
    control: Rate | None
    mcnemar_p: float | None
    clean: tuple[int, int]
    control_clean: tuple[int, int] | None

    def record(self) -> dict[str, Any]:
        """As JSON: counts are integers, rates and the p value decimal strings."""
        clean, control_clean = self.clean, self.control_clean
        return {
            "metric": METRIC,
            "protocol": self.protocol,
            "extractor": self.extractor,
            "network": self.network,
            "width": self.width,
            "threat_levels": list(self.threat_levels),
            "trials": self.trials,
            "victim_seeds": self.victim_seeds,
            "poisoned": _rate_record(self.poisoned),
            "control": None if self.control is None else _rate_record(self.control),
            "mcnemar_p": None if self.mcnemar_p is None else f"{self.mcnemar_p:.6f}",
            "clean_correct": clean[0],
            "clean_images": clean[1],
            "control_clean_correct": None if control_clean is None else control_clean[0],
            "control_clean_images": None if control_clean is None else control_clean[1],
        }


def summarise(rows: Iterable[Row]) -> tuple[Summary, ...]:
    """One summary a pair of protocol and extractor, in the order the pairs first appear.

    Raises:
        UsageError: the rows are of more than one poison set.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    sets = set()
    for row in rows:
        sets.add(row.content_digest)
        groups.setdefault((row.protocol, row.extractor), []).append(row)
    if len(sets) > 1:
        raise UsageError(f"rows of {len(sets)} poison sets, a rate is of one")
    return tuple(_summary(group) for group in groups.values())


def _summary(rows: Sequence[Row]) -> Summary:
    first = rows[0]
    paired = [row for row in rows if row.control is not None]
    seeds = len({row.victim_seed for row in rows})
    control_correct = sum(row.control_correct or 0 for row in paired)
    return Summary(
        protocol=first.protocol,
        extractor=first.extractor,
        network=first.network,
        width=first.width,
        threat_levels=tuple(sorted({row.threat_level for row in rows})),
        trials=len({row.trial for row in rows}),
        victim_seeds=seeds,
        poisoned=_rate([(row.trial, row.success) for row in rows], seeds),
        control=_rate([(row.trial, bool(row.control)) for row in paired], seeds) if paired else None,
        mcnemar_p=_mcnemar(paired) if paired and seeds == 1 else None,
        clean=(sum(row.clean_correct for row in rows), sum(row.clean_images for row in rows)),
        control_clean=(control_correct, sum(row.clean_images for row in paired)) if paired else None,
    )


def _rate(outcomes: Sequence[tuple[int, bool]], seeds: int) -> Rate:
    successes = sum(success for _, success in outcomes)
    if seeds == 1:
        return Rate(successes, len(outcomes), wilson(successes, len(outcomes)))
    by_trial: dict[int, list[bool]] = {}
    for trial, success in outcomes:
        by_trial.setdefault(trial, []).append(success)
    # A trial's mean stands for its victims, so that trials with fewer finished victims count alike.
    means = [[sum(values) / len(values)] for values in by_trial.values()]
    return Rate(successes, len(outcomes), bootstrap_over_trials(means, seed=0))


def _mcnemar(paired: Sequence[Row]) -> float:
    only_poisoned = sum(row.success and not row.control for row in paired)
    only_control = sum(bool(row.control) and not row.success for row in paired)
    return mcnemar_exact(only_poisoned, only_control)


def _rate_record(rate: Rate) -> dict[str, Any]:
    return {
        "successes": rate.successes,
        "n": rate.n,
        "low": f"{rate.interval.low:.6f}",
        "high": f"{rate.interval.high:.6f}",
    }
