"""Craft a poison set: plans in, a finished set on disk out. All attacks share this driver."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poisonsets.crafting import provenance
from poisonsets.crafting.blocks import partition
from poisonsets.crafting.crafter import CraftedTrial, Crafter, RefusedTrial
from poisonsets.crafting.preflight import preflight
from poisonsets.crafting.request import TRIGGER, CraftRequest
from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, MissingError, ViolationError
from poisonsets.manifests.files import canonical_json, png, store
from poisonsets.manifests.files.pixels import pixel_digest
from poisonsets.manifests.records.manifest import Manifest
from poisonsets.manifests.records.trial import Outcome, Slots, Trial
from poisonsets.manifests.sets import writer
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.trials.plan import composition_of
from poisonsets.manifests.verification.checks import integrity
from poisonsets.manifests.workers import Progress, run_all, silent
from poisonsets.surrogates import refuse_precision, worker_device

CURVE_POINTS = 21


@dataclass(frozen=True)
class CraftSummary:
    """The result of a crafting run.

    Attributes:
        content_digest: the set's identity.
        trials: how many trials the set has.
        taken_over: how many of them an interrupted run had finished.
        refused: number and reason of each refused trial.
        tracebacks: of what the attack raised in this run, each once.
    """

    content_digest: str
    trials: int
    taken_over: int
    refused: tuple[tuple[int, str], ...]
    tracebacks: tuple[str, ...] = ()


def craft_set(
    output: Path,
    request: CraftRequest,
    *,
    workers: int = 1,
    device: torch.device | Sequence[torch.device] = torch.device("cpu"),
    resume: bool = False,
    progress: Progress = silent,
) -> CraftSummary:
    """Craft a set and write it; on one machine equal requests give equal digests, whatever the workers and stops.

    Args:
        output: the set's folder; it must be empty or not exist.
        request: what to craft.
        workers: processes; they share nothing but the request.
        device: where the attack runs; several, of one kind and model, have one or more workers each.
        resume: continue an unfinished set of the same request.
        progress: called with the blocks done, fractions of running ones included, and the total.

    Raises:
        UsageError: the attack, the base or a device cannot meet the request.
        MissingError: the output folder or a surrogate cannot be used.
        ViolationError: every trial was refused; nothing is left on disk.
    """
    devices = [device] if isinstance(device, torch.device) else device
    refuse_precision(request.precision, devices)
    preflight(request)
    if resume and (output / writer.MANIFEST).exists():
        return _as_finished(output, request)
    watch = provenance.Stopwatch()
    with writer.write_set(output, request.identity() | {"device": devices[0].type}, resume=resume) as unfinished:
        blocks = [
            block for block in partition(request) if any(plan.trial not in unfinished.finished for plan in block.plans)
        ]
        taken_over = len(unfinished.finished)
        make = partial(_crafter, request.for_workers(), devices)
        refused: list[tuple[int, str]] = []
        tracebacks: dict[str, None] = {}
        for trial in chain.from_iterable(run_all(blocks, make, workers=workers, progress=progress)):
            if isinstance(trial, RefusedTrial):
                refused.append((trial.plan.trial, trial.reason))
                tracebacks.update(dict.fromkeys([trial.traceback] if trial.traceback else []))
            elif trial.plan.trial not in unfinished.finished:
                unfinished.add_trial(trial_record(request, trial), trial.images)
        if not unfinished.finished:
            shutil.rmtree(writer.partial_path(output), ignore_errors=True)  # nothing in it to resume
            remedy = "`export POISONSETS_DEBUG=1` shows the traceback" if tracebacks else ""
            reason = f"{output}: every trial was refused ({refused[0][1]}), so no set was written"
            refusal = ViolationError(reason, remedy)
            for one in tracebacks:
                refusal.add_note(one)
            raise refusal
        for path, data in _files(request):
            unfinished.add_file(path, data)
        run = watch.record(device=devices[0], workers=workers, taken_over=taken_over, refused=refused)
        manifest = unfinished.publish(request.head(), run)
    return CraftSummary(manifest.content_digest, len(manifest.trials), taken_over, tuple(refused), tuple(tracebacks))


def _crafter(request: CraftRequest, devices: Sequence[torch.device], worker: int) -> Crafter:
    return Crafter(request, worker_device(devices, worker))


def _as_finished(output: Path, request: CraftRequest) -> CraftSummary:
    """The summary of an earlier run of the same request that completed its set before it was stopped.

    Raises:
        MissingError: the folder holds a set of another request.
        DamagedError: the set is damaged.
    """
    opened = open_set(output)
    for finding in integrity.check_files(opened):
        raise DamagedError(f"{output}: {finding.place}: {finding.message}", "Remove the set and craft it again")
    manifest, refused = opened.manifest, _refused(output)
    if differing := canonical_json.difference(_identity(manifest, refused, request), request.identity()):
        raise MissingError(
            f"{output}: the output folder holds a set made by another command ({differing})",
            "Choose another output folder",
        )
    partial = writer.partial_path(output)
    if not (partial / writer.PAYLOAD).exists():
        shutil.rmtree(partial, ignore_errors=True)
    return CraftSummary(manifest.content_digest, len(manifest.trials), len(manifest.trials), refused)


def _identity(manifest: Manifest, refused: Sequence[tuple[int, str]], request: CraftRequest) -> dict[str, Any]:
    """The identity of the request behind a finished set; the first trial unlike this request speaks for all."""

    def unlike(trial: Trial) -> bool:
        return (trial.constraint, trial.composition.rule) != (request.budget, request.composition)

    found, trial = manifest.model_dump(mode="json"), next(filter(unlike, manifest.trials), manifest.trials[0])
    return {
        **{key: found[key] for key in request.head()},
        "budget": trial.constraint.model_dump(mode="json"),
        "composition": trial.composition.rule,
        "pool": request.surrogates.pool,  # the set's surrogates record which trials drew them
        "trials": sorted([*(one.trial for one in manifest.trials), *(number for number, _ in refused)]),
    }


def _refused(output: Path) -> tuple[tuple[int, str], ...]:
    """Number and reason of each refused trial, from a finished set's run record."""
    run = canonical_json.loads(store.read_file(output / writer.RUN, limits.RUN_BYTES), writer.RUN)
    return tuple((int(number), str(reason)) for number, reason in run.get("refused", {}).items())


def trial_record(request: CraftRequest, crafted: CraftedTrial) -> Trial:
    """The manifest's record of a crafted trial."""
    plan, images = crafted.plan, crafted.images
    labels = (plan.adversarial_label,) * len(images)
    moved = (images != request.base.train.images[list(crafted.bases)]).any(axis=(1, 2, 3))
    return Trial(
        trial=plan.trial,
        targets=plan.targets,
        source_classes=plan.source_classes,
        adversarial_label=plan.adversarial_label,
        labels=request.attack.traits.labels,
        constraint=request.budget,
        composition=composition_of(request.composition, plan),
        trigger=None if request.trigger is None else TRIGGER,
        slots=Slots(bases=crafted.bases, labels=labels),
        pixels=pixel_digest(images, np.array(labels, dtype=np.int64)),
        outcome=Outcome(
            moved=int(moved.sum()),
            objective=tuple(f"{value:.6g}" for value in _thin(crafted.history)),
            halvings=crafted.halvings,
        ),
    )


def _files(request: CraftRequest) -> Iterator[tuple[str, bytes]]:
    """The set's files besides shards: the trigger's pictures, and the surrogates if included."""
    if request.trigger is not None:
        for path, picture in request.trigger[0].pictures().items():
            yield path, png.encode(picture)
    if request.surrogates.included:
        for one in request.surrogates.weights:
            yield f"surrogates/{one.digest}.safetensors", one.file_bytes()


def _thin(history: Sequence[float]) -> list[float]:
    """Reduce a curve to at most `CURVE_POINTS` points, the first and the last included."""
    if len(history) <= CURVE_POINTS:
        return list(history)
    return [history[round(i * (len(history) - 1) / (CURVE_POINTS - 1))] for i in range(CURVE_POINTS)]
