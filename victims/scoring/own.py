"""Score a victim of the caller's own: any function from a training set and queries to predictions, beside its control.

Rows are like any other: a defence that is no file of this project is counted, stored and compared as ours are.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError, ViolationError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.workers import Progress, silent
from poisonsets.victims.results.folder import open_results
from poisonsets.victims.results.job import JobIdentity
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.summary import summarise
from poisonsets.victims.scoring.jobs import finished_row, identity_of, set_fields, stored_row, trial_images
from poisonsets.victims.scoring.preflight import numbered_trials
from poisonsets.victims.scoring.score import Score, results_settings
from poisonsets.victims.scoring.subject import ScorableManifest, ScorableSet, ScorableTrial
from poisonsets.victims.trainers.own.tasks import OwnTask, OwnTrainingSet, own_pair, role_of, tasks
from poisonsets.victims.trainers.victim_pair import JobInput

FitPredict = Callable[..., object]
"""Maps (training set, queries uint8 [Q, H, W, 3]) to labels or logits; it may take the victim seed as `seed=`."""
Answer = Callable[[OwnTask], object]
SUITE: Final = "own"


@dataclass(frozen=True)
class OwnVictim:
    """A victim of the caller's own.

    Attributes:
        name: as its rows call it.
        package: the installed package that it comes from and its version; None where it comes from none.
    """

    name: str
    package: str | None = None

    def __post_init__(self) -> None:
        if not (0 < len(self.name) <= 100 and self.name.isprintable()):
            raise UsageError(f"a victim called {self.name[:100]!r}", "Give a name of 1 to 100 printable characters")

    @property
    def protocol(self) -> str:
        """What stands in the place of a protocol's id."""
        return f"{SUITE}/{self.name}"


@dataclass(frozen=True)
class OwnJob:
    """A trial and a seed for a victim of the caller's own; its identity names its row."""

    trial: ScorableTrial
    victim: OwnVictim
    victim_seed: int
    manifest: ScorableManifest

    @cached_property
    def identity(self) -> JobIdentity:
        """What names it."""
        named = self.victim.protocol
        return identity_of(self.manifest, self.trial, self.victim_seed, protocol=named, version=1, extractor=None)

    def shape(self) -> dict[str, Any]:
        """Nobody knows its network."""
        return {"network": SUITE, "width": "1", "input": None}

    def recomputed(self) -> dict[str, Any]:
        """Nobody knows what the attacker knew of it, either."""
        said = {"threat_level": "unknown", "victim": self.victim.name, "victim_package": self.victim.package}
        return said | set_fields(self.manifest, self.trial)

    def input(self, base: Base) -> JobInput:
        """Its poisons and what is asked; raises as `trial_images`."""
        return JobInput(self.trial.record, *trial_images(self.trial, base), self.victim_seed)


def calling(fit_predict: FitPredict) -> Answer:
    """What answers a task by calling a function, with the victim seed where it takes one."""
    seeded = _takes_seed(fit_predict)

    def answer(task: OwnTask) -> object:
        given: tuple[OwnTrainingSet, Images] = task.training_set(), task.queries()
        return fit_predict(*given, seed=task.spec.victim_seed) if seeded else fit_predict(*given)

    return answer


def score_answers(
    opened: ScorableSet,
    base: Base,
    answer: Answer,
    *,
    victim: OwnVictim,
    trials: Sequence[int] | None = None,
    victim_seeds: Sequence[int] = (0,),
    results: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Score:
    """Count what victims of the caller's own say, each trained on a trial's poisons and on its clean control.

    A victim is asked for twice for each trial and seed, with equal seeds, in an order that a coin decides.

    Args:
        opened: the set; verify it first.
        base: the base dataset that it pins.
        answer: gives the predictions of a task, wherever they come from; see `calling`.
        victim: how rows call it.
        trials: numbers of the trials; all where left out.
        victim_seeds: one victim a trial for each.
        results, resume: as for `score_set`.
        progress: told the jobs done, and all.

    Raises:
        UsageError: predictions are not one for each query, or the set has no such trial.
        MissingError, DamagedError: as `score_set`.
        Exception: whatever `answer` raises.
    """
    base = base.as_pinned(opened.manifest.base)
    jobs = own_jobs(opened, victim, trials, victim_seeds)
    settings = results_settings(
        opened.manifest, base, protocols=[f"{victim.protocol} v1"], extractors=(), device="unknown"
    )
    rows = []
    with open_results(results, settings, resume=resume) if results else nullcontext() as folder:
        for number, job in enumerate(jobs):
            row = stored_row(job, folder) if folder else None
            if row is None:
                row = _row(job, base, answer)
                if folder:
                    folder.write(row)
            rows.append(row)
            progress(number + 1, len(jobs))
    return Score(tuple(rows), summarise(rows))


def own_jobs(
    opened: ScorableSet, victim: OwnVictim, trials: Sequence[int] | None, victim_seeds: Sequence[int]
) -> list[OwnJob]:
    """The jobs of some trials and seeds; a UsageError where the set has no such trial."""
    chosen, seeds = numbered_trials(opened, trials), dict.fromkeys(victim_seeds)
    return [OwnJob(trial, victim, seed, opened.manifest) for trial in chosen for seed in seeds]


def _row(job: OwnJob, base: Base, answer: Answer) -> Row:
    started = time.perf_counter()
    pair = own_pair(job.input(base), base)
    found = {task.role: task.evaluation(answer(task)) for task in tasks(pair, base)}
    test_images = int(np.isin(base.test.labels, base.victim_classes).sum())
    predictions = pair.predictions(lambda spec: found[role_of(spec)], test_images)
    if isinstance(predictions, ViolationError):
        raise predictions
    row = finished_row(
        job,
        predictions,
        seconds=time.perf_counter() - started,
        device=torch.device("cpu"),
        precision="fp32",
    )
    # Where it was computed is the caller's affair.
    return row.model_copy(update={"device": "unknown", "peak_memory_bytes": 0})


def _takes_seed(function: FitPredict) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some built-in callables nothing is known
        return False
    return "seed" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())
