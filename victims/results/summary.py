"""Rows to rates: per protocol and extractor the success rate beside its clean control, with intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.statistics import Interval, bootstrap_over_trials, mcnemar_exact, wilson, wilson_of_mean

SOURCE_METRIC = (
    "test images of the source classes, with the trigger on where there is one, classified as the adversarial label"
)
METRIC = "targets classified as the adversarial label after training on the poisons"

IntervalMethod: TypeAlias = Literal["wilson over trials", "bootstrap over trials", "wilson over images"]


@dataclass(frozen=True)
class Rate:
    """Successes among n victims, the 95 % interval of their rate, and its method.

    With one victim seed the interval is Wilson's over trials. With several it is a bootstrap over trials, or, where
    every trial has the same mean and a bootstrap has no width, Wilson's of that mean over the number of trials.
    """

    successes: int
    n: int
    interval: Interval
    interval_method: IntervalMethod


@dataclass(frozen=True)
class Summary:
    """The results of one protocol and extractor.

    Attributes:
        protocol: its id.
        extractor: digest of the extractor's weights; None from scratch.
        network, width, input: the victim's network, its width and input size.
        threat_levels: those of the trials, each once.
        seen_in_pretraining: as in its rows; the victims of such a summary stand beside no published ones.
        trials, victim_seeds: how many of each.
        poisons: each pair (poisons, rows of the training set) that occurs, ascending.
        poisoned: victims trained on the poisons.
        control: clean controls by the same metric; None where no trial has one. Its n counts targets: where trials
            share a control, the interval is about the targets that a few controls classified, not about other controls.
        sources: images of source classes over all victims; None where there are none. The interval is over trials,
            whose images share a victim; of a single trial over its images, which says nothing about other trials.
        control_sources: the same of the clean controls: what the trigger does to a clean victim.
        distinct_controls: how many controls were trained, one for each different (victim seed, training rows).
        mcnemar_p: exact McNemar p value of poisoned against control over trials that have both. None where pairs are
            not independent, because there are several victim seeds or trials share a control, and where there are none.
        clean: correct and all test predictions of the poisoned victims, summed.
        control_clean: the same of the controls.
    """

    protocol: str
    extractor: str | None
    network: str
    width: str
    input: int | None
    threat_levels: tuple[str, ...]
    seen_in_pretraining: bool
    trials: int
    victim_seeds: int
    poisons: tuple[tuple[int, int], ...]
    poisoned: Rate
    control: Rate | None
    sources: Rate | None
    control_sources: Rate | None
    distinct_controls: int
    mcnemar_p: float | None
    clean: tuple[int, int]
    control_clean: tuple[int, int] | None

    def record(self) -> dict[str, Any]:
        """As JSON: counts are integers; rates and the p value are decimal strings."""
        control_correct, control_images = self.control_clean or (None, None)
        return {
            "metric": METRIC,
            "protocol": self.protocol,
            "extractor": self.extractor,
            "network": self.network,
            "width": self.width,
            "input": self.input,
            "threat_levels": list(self.threat_levels),
            "seen_in_pretraining": self.seen_in_pretraining,
            "trials": self.trials,
            "victim_seeds": self.victim_seeds,
            "poisons": [{"poisons": count, "training_images": images} for count, images in self.poisons],
            "poisoned": _rate_record(self.poisoned),
            "control": _rate_record(self.control),
            "source_metric": SOURCE_METRIC,
            "sources": _rate_record(self.sources),
            "control_sources": _rate_record(self.control_sources),
            "distinct_controls": self.distinct_controls,
            "mcnemar_p": None if self.mcnemar_p is None else f"{self.mcnemar_p:.6g}",
            "clean_correct": self.clean[0],
            "clean_images": self.clean[1],
            "control_clean_correct": control_correct,
            "control_clean_images": control_images,
        }


def summarise(rows: Iterable[Row]) -> tuple[Summary, ...]:
    """One summary for each pair of protocol and extractor, in order of first appearance.

    Raises:
        UsageError: the rows are of more than one poison set or choice of classes, or a job has two rows.
    """
    groups: dict[tuple[str, str | None], list[Row]] = {}
    jobs, sets, classes = set(), set(), set()
    for row in rows:
        if row.job in jobs:
            raise UsageError(f"two rows of trial {row.trial}, victim seed {row.victim_seed} (job {row.job[:12]})")
        jobs.add(row.job)
        sets.add(row.content_digest)
        classes.add(row.victim_classes)
        groups.setdefault((row.protocol, row.extractor), []).append(row)
    if len(sets) > 1:
        raise UsageError(f"rows of {len(sets)} poison sets, wanted one")
    if len(classes) > 1:
        raise UsageError(f"rows of victims that know different classes: {sorted(map(list, classes))}")
    return tuple(_summary(group) for group in groups.values())


def _summary(rows: Sequence[Row]) -> Summary:
    first = rows[0]
    paired = [row for row in rows if row.control is not None]
    seeds = len({row.victim_seed for row in rows})
    control_correct = sum(row.control_correct or 0 for row in paired)
    controls = len({(row.victim_seed, row.control_rows) for row in paired})
    return Summary(
        protocol=first.protocol,
        extractor=first.extractor,
        network=first.network,
        width=first.width,
        input=first.input,
        threat_levels=tuple(sorted({row.threat_level for row in rows})),
        seen_in_pretraining=any(row.seen_in_pretraining for row in rows),
        trials=len({row.trial for row in rows}),
        victim_seeds=seeds,
        poisons=tuple(sorted({(row.poisons, row.training_images) for row in rows})),
        poisoned=rate([(row.trial, row.success) for row in rows], seeds),
        control=rate([(row.trial, bool(row.control)) for row in paired], seeds) if paired else None,
        sources=_image_rate([(row.trial, row.source_poisoned, row.source_images) for row in rows]),
        control_sources=_image_rate([(row.trial, row.source_control or 0, row.source_images) for row in paired]),
        distinct_controls=controls,
        mcnemar_p=_mcnemar(paired) if paired and seeds == 1 and controls == len(paired) else None,
        clean=(sum(row.clean_correct for row in rows), sum(row.clean_images for row in rows)),
        control_clean=(control_correct, sum(row.clean_images for row in paired)) if paired else None,
    )


def rate(outcomes: Sequence[tuple[int, bool]], seeds: int) -> Rate:
    """The rate of outcomes, each (trial, success), with `seeds` victims a trial."""
    successes, n = sum(success for _, success in outcomes), len(outcomes)
    if seeds == 1:
        return Rate(successes, n, wilson(successes, n), "wilson over trials")
    return Rate(successes, n, *_over_trials(outcomes))


def _image_rate(counted: Sequence[tuple[int, int, int]]) -> Rate | None:
    """Hits among images, each entry (trial, hits, images); None without images."""
    with_images = [entry for entry in counted if entry[2]]
    if not with_images:
        return None
    hits, images = sum(entry[1] for entry in with_images), sum(entry[2] for entry in with_images)
    if len({trial for trial, *_ in with_images}) == 1:
        return Rate(hits, images, wilson(hits, images), "wilson over images")
    return Rate(hits, images, *_over_trials([(trial, found / among) for trial, found, among in with_images]))


def _over_trials(values: Sequence[tuple[int, float]]) -> tuple[Interval, IntervalMethod]:
    """The interval of a mean of values in 0..1, where those of one trial depend on each other."""
    by_trial: dict[int, list[float]] = {}
    for trial, value in values:
        by_trial.setdefault(trial, []).append(value)
    # A trial's mean stands for its victims, so that trials with fewer finished victims count alike.
    means = [sum(found) / len(found) for found in by_trial.values()]
    if len(set(means)) == 1:
        return wilson_of_mean(means[0], len(means)), "wilson over trials"
    return bootstrap_over_trials([[mean] for mean in means], seed=0), "bootstrap over trials"


def _mcnemar(paired: Sequence[Row]) -> float:
    only_poisoned = sum(row.success and not row.control for row in paired)
    only_control = sum(bool(row.control) and not row.success for row in paired)
    return mcnemar_exact(only_poisoned, only_control)


def _rate_record(found: Rate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "successes": found.successes,
        "n": found.n,
        "low": f"{found.interval.low:.6f}",
        "high": f"{found.interval.high:.6f}",
        "interval_method": found.interval_method,
    }
