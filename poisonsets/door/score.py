"""`poisonsets.score`: train victims on a poison set, beside the clean control."""

from collections.abc import Sequence
from pathlib import Path

from poisonsets.door.cache import cache_folder
from poisonsets.door.errors import speaks_python
from poisonsets.door.networks import default_extractors, protocols, read_network
from poisonsets.door.results import Results
from poisonsets.door.tell import Logged
from poisonsets.door.verified import verified
from poisonsets.door.words import listed
from poisonsets.manifests.sets.reader import PoisonSet
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.placement import resolve_all, worker_count
from poisonsets.victims.precision import Precision
from poisonsets.victims.scoring.preflight import preflight
from poisonsets.victims.scoring.score import score_set


@speaks_python
def score(
    path: str | Path | PoisonSet,
    *,
    protocol: str | Sequence[str] = (),
    suite: str | Sequence[str] = (),
    extractor: str | Path | Weights | Sequence[str | Path | Weights] = (),
    base: str | None = None,
    trials: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    results: str | Path | None = None,
    resume: bool = False,
    trajectories: bool = False,
    keep_victims: bool = False,
    precision: Precision = "fp32",
    workers: int = 1,
    device: str = "auto",
) -> Results:
    """Verify a set, then train victims on it and on its clean controls, and count targeted misclassification.

    Args:
        path: the set's folder, a foreign set of a known format, or the open set.
        protocol, suite: ids or names, one or several; without any, a head on each extractor.
        extractor: what victims start from: files, names or loaded networks; without any, the base's default one.
        base: the name of the set's base; None takes the pinned one from the cache.
        trials: numbers of the trials; None takes all.
        seeds: one victim a trial for each.
        results: a folder that keeps the rows.
        resume: go on with the rows that the folder holds.
        trajectories, keep_victims: keep each victim's course, or the victims, beside the rows; needs `results`.
        precision: `fp32`, `bf16` or, on a GPU, `tf32`.
        workers: processes.
        device: `auto`, `cpu`, `cuda`, or a list `cuda:0,cuda:1`.

    Raises:
        DamagedError, ViolationError: the set does not verify, or a victim diverged.
        UsageError: an unknown protocol, or one that fits no extractor or trial.
        MissingError: a base, network, device or folder is missing or refused.
    """
    where = resolve_all(device)
    with verified(path, base) as (opened, dataset):
        given = [one if isinstance(one, Weights) else read_network(Path(one)) for one in listed(extractor)]
        shapes = [one.network.spec.shape for one in given]
        wanted = protocols(dataset, listed(protocol), listed(suite), shapes)
        preflight(opened, dataset, wanted, trials, given or None)
        found = score_set(
            opened,
            dataset,
            protocols=wanted,
            extractors=given or default_extractors(dataset, wanted, tell=Logged()),
            trials=trials,
            victim_seeds=seeds,
            results=None if results is None else Path(results),
            resume=resume,
            trajectories=trajectories,
            keep_victims=keep_victims,
            precision=precision,
            workers=worker_count(workers, where),
            cache=cache_folder(),
            device=where,
        )
    return Results(found.rows, found.summaries)
