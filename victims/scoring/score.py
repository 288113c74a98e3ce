"""Score a poison set: every trial's victim is trained beside its clean control, one row a job.

A block's rows are stored when it is done: a kill loses at most one block, and `resume` skips finished jobs. Everything
that can be refused is refused before any training.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError, ViolationError
from poisonsets.manifests.files import store
from poisonsets.manifests.workers import Progress, run_all, silent
from poisonsets.victims.features.store import FeatureDtype
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.placement import worker_device
from poisonsets.victims.precision import Precision, refuse_precision
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.results.folder import CHECKPOINTS, ResultsFolder, open_results
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.seen import seen_in_pretraining
from poisonsets.victims.results.summary import Summary, summarise
from poisonsets.victims.scoring.beside import Beside
from poisonsets.victims.scoring.extractors import matched
from poisonsets.victims.scoring.jobs import Job, stored_row
from poisonsets.victims.scoring.preflight import preflight
from poisonsets.victims.scoring.subject import ScorableManifest, ScorableSet
from poisonsets.victims.scoring.worker import RowMaker, WorkerSettings, blocks


@dataclass(frozen=True)
class Score:
    """The rows of the requested jobs, a summary for each pair of protocol and extractor, and these extractors."""

    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]
    extractors: tuple[Weights, ...] = ()


def score_set(
    opened: ScorableSet,
    base: Base,
    *,
    protocols: Sequence[Protocol],
    extractors: Sequence[Weights],
    trials: Sequence[int] | None = None,
    victim_seeds: Sequence[int] = (0,),
    results: Path | None = None,
    resume: bool = False,
    trajectories: bool = False,
    keep_victims: bool = False,
    cache: Path | None = None,
    features: FeatureDtype = "fp16",
    precision: Precision = "fp32",
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    device: torch.device | Sequence[torch.device],
    progress: Progress = silent,
    sharing: Progress = silent,
) -> Score:
    """Train the victims of a poison set and count their targets.

    Args:
        opened: the set.
        base: the base dataset the set pins.
        protocols: how victims are trained; each is run with every extractor of its network and width.
        extractors: frozen feature extractors; those of one digest count once.
        trials: numbers of the trials to score; all where left out.
        victim_seeds: one victim a trial for each; more narrow the interval of a rate only as far as victims of one
            trial differ. A seed given twice counts once.
        results: a folder that keeps rows, locked meanwhile; without one they are only returned.
        resume: go on with the rows a folder holds.
        trajectories: record every victim and control in training, and keep what they make of the targets after each
            epoch beside the rows, see `trajectory.read_trajectory`. Rows are the same; a stored one without its
            trajectory is done again. Each step costs a pass over the targets, forward and back, and a control that
            serves several trials is trained for each block of jobs, as a whole network for each job.
        keep_victims: keep every victim and control beside the rows, see `victim_file.load_victim`: a head where only
            that is trained, else the whole network. A stored row without them is done again.
        cache: the cache folder, where from four trials on the features of clean images are kept for all attacks and
            processes; without one they are only remembered.
        features: what remembered features of training images are rounded to, `fp16` or `fp32`.
        precision: of the passes that give features and of those in which whole networks are trained: `fp32`, `bf16` or,
            on a GPU, `tf32`. Heads are trained, and whole networks evaluated, in float32.
        shard: (i, n): every n-th job from job i on, 0-based. Rows of all shards in one folder are the whole.
        workers: processes to train victims in; rows do not depend on it, but each process trains its own controls.
        device: where to compute; several, of one kind and model, have one or more workers each.
        progress: told the jobs done, with the shares of those in work, and all jobs.
        sharing: told the parts done, and all, of the file of clean features while this process computes it; worker
            processes tell nothing.

    Raises:
        MissingError: the base is another one, the results folder cannot be used, memory ran out or the device failed.
        UsageError: a device cannot compute in the precision, extractors and protocols do not match, a trial cannot be
            scored this way, trajectories or victims have no results folder, or trajectories no float64 on the device.
        ViolationError: a victim diverged; it has no row.
        DamagedError: a file of the set, a stored row or, where asked for, what stands beside it is damaged.
    """
    if (trajectories or keep_victims) and results is None:
        kept = "trajectories" if trajectories else "kept victims"
        raise UsageError(f"{kept} need a results folder, and there is none", "Name a results folder")
    devices = [device] if isinstance(device, torch.device) else device
    if trajectories and devices[0].type == "mps":
        raise UsageError("trajectories are computed in float64, which mps has not", "Record them with --device cpu")
    refuse_precision(precision, devices)
    chosen = preflight(opened, base, protocols, trials)
    pairs = matched(protocols, extractors, base)
    seeds = tuple(dict.fromkeys(victim_seeds))
    wanted = [
        Job(trial, protocol, extractor, seed, opened.manifest, seen_in_pretraining(extractor, base.name))
        for protocol, extractor in pairs
        for trial in chosen
        for seed in seeds
    ]
    wanted = wanted[shard[0] :: shard[1]]
    rows: dict[str, Row] = {}
    settings = results_settings(
        opened.manifest,
        base,
        protocols=[f"{protocol.id} v{protocol.version}" for protocol, _ in pairs],
        extractors=[extractor.digest for _, extractor in pairs if extractor is not None],
        device=devices[0].type,
    )
    settings |= {"features": features, "precision": precision}
    beside = Beside(trajectories, keep_victims)
    worker_settings = WorkerSettings(base, devices[0], cache, features, precision, results, beside)
    with open_results(results, settings, resume=resume) if results else nullcontext() as folder:
        make = partial(_row_maker, worker_settings, devices, sharing if workers == 1 else silent)
        for row in _all_rows(wanted, folder, make, workers, progress, beside):
            rows[row.job] = row
        if results is not None:
            store.remove_folder(results / CHECKPOINTS)
    ordered = tuple(rows[job.identity.key] for job in wanted)
    used = {extractor.digest: extractor for _, extractor in pairs if extractor is not None}
    return Score(ordered, summarise(ordered), tuple(used.values()))


def _all_rows(
    jobs: Sequence[Job],
    folder: ResultsFolder | None,
    make: Callable[[int], RowMaker],
    workers: int,
    progress: Progress,
    beside: Beside,
) -> Iterator[Row]:
    """The stored rows, then those of the other jobs, which their makers store.

    Raises:
        ViolationError: a victim diverged; the other rows of its block are stored before.
    """
    missing: list[Job] = []
    for job in jobs:
        row = stored_row(job, folder) if folder else None
        if row is None or (folder and not beside.whole(folder, job, row)):
            missing.append(job)
        else:
            yield row
    stored = len(jobs) - len(missing)
    progress(stored, len(jobs))

    def tell(blocks_done: float, all_blocks: float) -> None:
        progress(stored + len(missing) * blocks_done / all_blocks, len(jobs))

    for made in run_all(list(blocks(missing)), make, workers=workers, progress=tell):
        yield from [one for one in made if isinstance(one, Row)]
        for one in made:
            if isinstance(one, ViolationError):
                raise one


def _row_maker(settings: WorkerSettings, devices: Sequence[torch.device], sharing: Progress, worker: int) -> RowMaker:
    return RowMaker(replace(settings, device=worker_device(devices, worker)), sharing)


def results_settings(
    manifest: ScorableManifest, base: Base, *, protocols: Iterable[str], extractors: Iterable[str], device: str
) -> dict[str, Any]:
    """What every row of a results folder was made with.

    Args:
        manifest: of the set.
        base: its base dataset.
        protocols: each id with its version, such as `cifar10-transfer/resnet18 v1`.
        extractors: digests.
        device: its kind.
    """
    return {
        "format": "poisonset-results/3",
        "content_digest": manifest.content_digest,
        "base": {name: pin.digest for name, pin in manifest.base.splits.items()},
        "protocols": sorted(set(protocols)),
        "extractors": sorted(set(extractors)),
        "victim_classes": list(base.victim_classes),
        "device": device,
        "torch": torch.__version__,
    }
