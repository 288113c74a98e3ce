"""`score --predictions` and `export --queries`: a victim that another program trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poisonsets.cli import output
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.cli.subjects import Subject
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.sets.reader import PoisonSet
    from poisonsets.victims.scoring.score import Score


def refuse_training(**options: Any) -> None:
    """Refuse options of a training that does not happen, by their Python names."""
    if given := [name for name, value in options.items() if value]:
        option = "--" + given[0].replace("_", "-")
        raise UsageError(f"{option} with --predictions, which are of a victim trained elsewhere", f"Leave out {option}")


@dataclass(frozen=True)
class Asked:
    """Whose predictions they are, None for the file's name, and of which trainings."""

    victim: str | None
    trials: Sequence[int] | None
    victim_seeds: Sequence[int]


def scored(file: Path, found: Subject, asked: Asked, *, results: Path | None, resume: bool) -> Score:
    """The rows of a victim from its predictions.

    Raises:
        UsageError: they are for other trials, seeds or another set, or no predictions; or the set has no manifest.
        MissingError, DamagedError: as `read_predictions` and `open_results`.
    """
    from poisonsets.victims.scoring.own import OwnVictim, score_answers
    from poisonsets.victims.scoring.predictions_file import answer_from, read_predictions, trainings

    if found.whole is not None:
        raise UsageError(f"{found.path} has no manifest, so no queries were written", "Leave out --predictions")
    given = read_predictions(file)
    wanted = trainings(found.opened, found.base, asked.trials, asked.victim_seeds)
    answer = answer_from(given, wanted, found.opened.manifest.content_digest, str(file))
    return score_answers(
        found.opened,
        found.base,
        answer,
        victim=OwnVictim(file.stem[:100] if asked.victim is None else asked.victim),
        trials=asked.trials,
        victim_seeds=asked.victim_seeds,
        results=results,
        resume=resume,
    )


def write(
    out: Path,
    opened: PoisonSet,
    base: Base,
    *,
    trials: Sequence[int] | None,
    victim_seeds: Sequence[int],
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the queries of a set and say what to do with them; raises as `write_queries`."""
    from poisonsets.manifests import spelling
    from poisonsets.victims.scoring.predictions_file import write_queries

    with output.progress("writing queries", quiet=quiet) as report:
        names = write_queries(out, opened, base, trials=trials, victim_seeds=victim_seeds, progress=report)
    if as_json:
        output.document({"schema_version": 1, "path": str(out), "trainings": list(names)})
        return
    again = ["score", str(opened.path), "--predictions", "predictions.npz"]
    again += [] if trials is None else ["--trials", spelling.format_numbers(trials)]
    again += [] if tuple(victim_seeds) == (0,) else ["--victim-seeds", spelling.format_numbers(victim_seeds)]
    print(f"{out}: {len(names)} trainings, a file each: images, labels, and queries to predict (docs/defence.md)")
    print(f"with their predictions by name: {spelling.command(*again)}")
