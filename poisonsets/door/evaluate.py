"""`poisonsets.evaluate`: score a victim of your own."""

from collections.abc import Sequence
from pathlib import Path

from poisonsets.door.errors import speaks_python
from poisonsets.door.results import Results
from poisonsets.door.verified import verified
from poisonsets.manifests.sets.reader import PoisonSet
from poisonsets.victims.scoring.own import FitPredict, OwnVictim, calling, score_answers


@speaks_python
def evaluate(
    path: str | Path | PoisonSet,
    fit_predict: FitPredict,
    *,
    victim: str | None = None,
    package: str | None = None,
    base: str | None = None,
    trials: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    results: str | Path | None = None,
    resume: bool = False,
) -> Results:
    """Verify a set, then train your own victim on each trial's poisons and on its clean control, and count.

    Args:
        path: the set's folder, or the open set.
        fit_predict: maps (training set, queries uint8 [Q, H, W, 3]) to labels 0..C-1, integers [Q], or to logits,
            floats [Q, C]; it may take the victim seed as `seed=`. The training set has `images` uint8 [N, H, W, 3],
            `labels` int64 [N] in 0..C-1 and `classes`. Nothing gives the poisons away.
        victim: how rows call it; None takes the function's name.
        package: the installed package that it comes from, with its version.
        base: the name of the set's base; None takes the pinned one from the cache.
        trials: numbers of the trials; None takes all.
        seeds: one victim a trial for each.
        results: a folder that keeps the rows.
        resume: go on with the rows that the folder holds.

    Raises:
        UsageError: predictions are not one for each query, or the set has no such trial.
        MissingError, DamagedError, ViolationError: the set does not verify, or as for `verify`.
        Exception: whatever the function raises.
    """
    name = victim or str(getattr(fit_predict, "__name__", type(fit_predict).__name__))
    with verified(path, base) as (opened, dataset):
        found = score_answers(
            opened,
            dataset,
            calling(fit_predict),
            victim=OwnVictim(name, package),
            trials=trials,
            victim_seeds=seeds,
            results=None if results is None else Path(results),
            resume=resume,
        )
    return Results(found.rows, found.summaries)
