"""`poisonsets show`: what a poison set or a weights file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.manifests import ranges

if TYPE_CHECKING:
    from poisonsets.manifests.model import Trial


def show(
    path: Annotated[Path, typer.Argument(help="A set's folder, or a .safetensors file.")],
    as_json: options.Json = False,
) -> None:
    """Show what a poison set's manifest (or a network's file) claims; nothing is checked against a base."""
    if path.suffix == ".safetensors":
        _show_weights(path, as_json)
    else:
        _show_set(path, as_json)


def _show_set(path: Path, as_json: bool) -> None:
    from poisonsets.manifests.reader import open_set

    manifest = open_set(path).manifest
    if as_json:
        output.document(manifest.model_dump(mode="json"))
        return
    first = manifest.trials[0]
    constraint = ", ".join(f"{key} {value}" for key, value in first.constraint.model_dump().items())
    settings = ", ".join(f"{key}={value}" for key, value in manifest.attack.settings.items()) or "none"
    rows = [
        ("name", manifest.name),
        ("notice", manifest.notice),
        ("content digest", manifest.content_digest),
        ("base", f"{manifest.base.name}, train split {manifest.base.splits['train'].digest[:16]}..."),
        ("attack", f"{manifest.attack.name} version {manifest.attack.version}"),
        ("settings", settings),
        ("setup", f"{manifest.setup.kind}, seed {manifest.seed}"),
        (
            "surrogates",
            ", ".join(f"{one.network} {one.digest[:12]}..." for one in manifest.surrogates) or "none",
        ),
        ("trials", ranges.spelled(trial.trial for trial in manifest.trials)),
        ("poisons a trial", ", ".join(sorted({str(len(trial.slots.labels)) for trial in manifest.trials}))),
        ("constraint", constraint),
        ("labels", first.labels),
        ("composition", first.composition.rule),
        ("written by", f"{manifest.tool.name} {manifest.tool.version}"),
    ]
    output.table(str(path), ("what", "claim"), rows)
    output.table(
        "Trials",
        ("trial", "target", "true label", "adversarial label", "moved", "objective first", "objective last"),
        [_trial_row(trial, manifest.base.classes) for trial in manifest.trials],
    )


def _trial_row(trial: Trial, classes: tuple[str, ...]) -> tuple[str, ...]:
    target = trial.targets[0] if trial.targets else None
    curve = trial.outcome.objective if trial.outcome else ()
    return (
        str(trial.trial),
        "none" if target is None else f"{getattr(target, 'split', 'file')}/{getattr(target, 'index', '')}",
        "none" if target is None else classes[target.label],
        classes[trial.adversarial_label],
        str(trial.outcome.moved) if trial.outcome else "unknown",
        curve[0] if curve else "",
        curve[-1] if curve else "",
    )


def _show_weights(path: Path, as_json: bool) -> None:
    from poisonsets.victims.weights import load_weights

    weights = load_weights(path)
    if as_json:
        output.document({"schema_version": 1, **weights.record})
        return
    rows = [(key, str(value)) for key, value in sorted(weights.record.items())]
    output.table(str(path), ("what", "claim"), rows)
