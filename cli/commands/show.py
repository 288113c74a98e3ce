"""`poisonsets show`: what a poison set, a results folder, a weights file or a kept victim says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from poisonsets.cli import options, output
from poisonsets.cli.options import in_output
from poisonsets.door.cache import cache_folder
from poisonsets.manifests import spelling
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poisonsets.manifests.records.manifest import Manifest
    from poisonsets.manifests.records.trial import Trial
    from poisonsets.manifests.sets.reader import PoisonSet

BARS = "▁▂▃▄▅▆▇█"
PICTURED = 3
WORST = "worst"


def show(
    path: Annotated[
        Path, typer.Argument(help="A folder of a set or of results, a .safetensors file, a name of weights.")
    ],
    picture: Annotated[
        Path | None,
        in_output(help="Write base, poison, difference and target to this new .png, .pdf or .svg."),
    ] = None,
    trials: Annotated[
        Any,
        in_output(
            metavar="NUMBERS",
            parser=options.numbers("--trials"),
            help="The picture's trials. Default: the first three.",
        ),
    ] = None,
    slots: Annotated[
        str, in_output(metavar="NUMBERS", help="The picture's poisons: worst (the largest change), or 0,5.")
    ] = WORST,
    base: options.PinnedBase = None,
    as_json: options.Json = False,
) -> None:
    """Show what a set's manifest, a results folder, or a network's or victim's file says; nothing is checked."""
    if picture is None and (trials is not None or slots != WORST):
        raise UsageError("--trials and --slots choose what a picture shows", "Add --picture FILE.png")
    results = (path / "settings.json").is_file() and not (path / "manifest.json").exists()
    if path.suffix == ".safetensors" or _is_cached(path) or results:
        if picture is not None:
            raise UsageError("--picture is of a poison set", "Give the set's folder")
        (_show_results if results else _show_file)(path, as_json)
    else:
        _show_set(path, _Wanted(picture, trials, slots) if picture else None, base, as_json)


class _Wanted(NamedTuple):
    """A picture as asked for: its file, its trials (None: the first), its slots as typed."""

    path: Path
    trials: Sequence[int] | None
    slots: str


def _show_set(path: Path, wanted: _Wanted | None, base: str | None, as_json: bool) -> None:
    from poisonsets.cli import picture
    from poisonsets.manifests.sets.reader import open_set

    if wanted is not None:
        picture.refuse(wanted.path)
    opened = open_set(path)
    if wanted is not None:
        _draw(opened, wanted, base)
    manifest = opened.manifest
    if as_json:
        output.document(manifest.model_dump(mode="json"))
        return
    output.table(str(path), ("what", "claim"), _claims(manifest))
    output.table(
        "Trials",
        ("trial", "target", "true label", "adversarial label", "poisons", "moved", "objective"),
        [_trial_row(trial, manifest.base.classes) for trial in manifest.trials],
    )


def _claims(manifest: Manifest) -> list[tuple[str, str]]:
    first, attack = manifest.trials[0], manifest.attack
    constraint = ", ".join(f"{key} {value}" for key, value in first.constraint.model_dump().items())
    setup = getattr(manifest.setup, "name", manifest.setup.kind)
    rows = [
        ("name", manifest.name),
        ("notice", manifest.notice),
        ("content digest", manifest.content_digest),
        ("base", f"{manifest.base.name}, train split {manifest.base.splits['train'].digest[:16]}..."),
        ("attack", f"{attack.name} version {attack.version}, {attack.precision}"),
        ("settings", ", ".join(f"{key}={value}" for key, value in attack.settings.items()) or "none"),
        ("setup", f"{setup}, seed {manifest.seed}"),
        ("surrogates", ", ".join(f"{one.network} {one.digest[:12]}..." for one in manifest.surrogates) or "none"),
        ("trials", spelling.format_numbers(trial.trial for trial in manifest.trials)),
        ("constraint", constraint),
        ("labels", first.labels),
        ("composition", first.composition.rule),
        ("written by", f"{manifest.tool.name} {manifest.tool.version}"),
    ]
    if attack.trigger_spec is not None:
        rows.insert(6, ("trigger", attack.trigger_spec))
    return rows


def _trial_row(trial: Trial, classes: tuple[str, ...]) -> tuple[str, ...]:
    target = trial.targets[0] if trial.targets else None
    return (
        str(trial.trial),
        "none" if target is None else f"{getattr(target, 'split', 'file')}/{getattr(target, 'index', '')}",
        "none" if target is None else classes[target.label],
        classes[trial.adversarial_label],
        str(len(trial.slots.labels)),
        str(trial.outcome.moved) if trial.outcome else "unknown",
        curve_line(trial.outcome.objective) if trial.outcome else "",
    )


def curve_line(values: Sequence[str]) -> str:
    """A curve in one line: its first value, a bar for each point between 0 and the largest, its last value."""
    if not values:
        return ""
    points = [float(value) for value in values]
    low, high = min(0.0, *points), max(points)
    span = (high - low) or 1.0
    bars = "".join(BARS[min(int((point - low) / span * len(BARS)), len(BARS) - 1)] for point in points)
    return f"{points[0]:.4g} {bars} {points[-1]:.4g}"


def _draw(opened: PoisonSet, wanted: _Wanted, base: str | None) -> None:
    from poisonsets.cli import picture
    from poisonsets.door.bases import finder

    found = finder(base)(opened.manifest.base)
    shown = opened.trials[:PICTURED] if wanted.trials is None else [opened.trial(number) for number in wanted.trials]
    slots = [None] if wanted.slots == WORST else spelling.parse_numbers(wanted.slots, "--slots")
    rows = []
    for trial in shown:
        record = trial.record
        true = [target.label for target in record.targets[:1]] or record.source_classes
        classes = ", ".join(found.classes[label] for label in true)
        caption = f"trial {trial.number}: {classes} that shall be called {found.classes[record.adversarial_label]}"
        rows += [picture.Row(trial.number, caption, slot) for slot in slots]
    picture.draw(opened, found, wanted.path, rows)


def _is_cached(path: Path) -> bool:
    """Whether nothing lies at a path, but the cache has weights of that name."""
    cached = cache_folder() / "weights" / f"{path}.safetensors"
    return len(path.parts) == 1 and not path.exists() and cached.is_file()


def _show_results(path: Path, as_json: bool) -> None:
    """What the rows of a results folder say, a line a protocol and extractor."""
    from poisonsets.victims.comparison.formats import written
    from poisonsets.victims.comparison.ranking import compare_rows
    from poisonsets.victims.comparison.results_files import read_results

    print(written(compare_rows(read_results([path]), "protocol"), "json" if as_json else "table"), end="")


def _show_file(path: Path, as_json: bool) -> None:
    """A network's weights, or the head of a victim that scoring kept."""
    from poisonsets.door.networks import read_network
    from poisonsets.victims.results.victim_file import holds_head, read_victim

    if path.suffix == ".safetensors" and holds_head(path):
        record = read_victim(path).record.model_dump(mode="json")
    else:
        weights = read_network(path)
        record = {**weights.record, "digest": weights.digest}
    if as_json:
        output.document({"schema_version": 1, **record})
        return
    rows = [(key, str(value)) for key, value in sorted(record.items())]
    output.table(str(path), ("what", "claim"), rows)
