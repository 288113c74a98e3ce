"""How scores are shown: the tables of `poisonsets score`, their cells, and the JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poisonsets.cli import output
from poisonsets.manifests import spelling

if TYPE_CHECKING:
    from poisonsets.victims.networks.weights import Weights
    from poisonsets.victims.results.summary import Rate, Summary
    from poisonsets.victims.scoring.score import Score


def rate_cell(rate: Rate | None, controls: int | None = None) -> str:
    """A rate as `k of n` and in percent with its 95 % interval.

    Args:
        rate: None where there is no control.
        controls: how many controls were trained, said where they are fewer than n.
    """
    if rate is None:
        return "none"
    shared = controls is not None and controls < rate.n
    counted = f"{rate.successes} of {rate.n}"
    if shared:
        counted += f" ({controls} control{'' if controls == 1 else 's'})"
    low, high = rate.interval.low, rate.interval.high
    return f"{counted}\n{output.percent(rate.successes, rate.n)} [{100 * low:.1f}, {100 * high:.1f}]"


def clean_cell(summary: Summary) -> str:
    """The clean accuracy of the victims and of their controls."""
    control = "none" if summary.control_clean is None else output.percent(*summary.control_clean)
    return f"{output.percent(*summary.clean)} / {control}"


def document(outcome: Score, path: Path, *, found: dict[str, Any] | None, not_checked: Sequence[str]) -> dict[str, Any]:
    """A score as JSON.

    Args:
        outcome: rows and summaries.
        path: what was scored.
        found: of a training set without a manifest what its images are; None of a poison set.
        not_checked: the claims nobody could check.
    """
    return {
        "schema_version": 1,
        "path": str(path),
        "found": found,
        "not_checked": list(not_checked),
        "summaries": [summary.record() for summary in outcome.summaries],
        "rows": [row.model_dump(mode="json") for row in outcome.rows],
    }


def table(outcome: Score, title: str, *, slots: str = "poisons") -> None:
    """Print the table of a score, and a second one of the source classes where there are any.

    Args:
        outcome: what is shown.
        title: stands above both.
        slots: what the images in the slots are called: of a training set without a manifest nobody knows.
    """
    from poisonsets.victims.results.summary import METRIC, SOURCE_METRIC

    columns = (
        *("protocol", "extractor", "threat level", slots, "poisoned [95 % interval]"),
        *("clean control [95 % interval]", "McNemar p", "clean accuracy: victim / control"),
    )
    named = {weights.digest: weights for weights in outcome.extractors}
    output.table(f"{title}\n{METRIC}", columns, [_cells(one, named) for one in outcome.summaries])
    asked = [one for one in outcome.summaries if one.sources is not None]
    if asked:
        short = ("protocol", "extractor", "poisoned [95 % interval]", "clean control [95 % interval]")
        rows = [
            (one.protocol, (one.extractor or "none")[:8], rate_cell(one.sources), rate_cell(one.control_sources))
            for one in asked
        ]
        output.table(f"{title}\n{SOURCE_METRIC}", short, rows)


def _cells(summary: Summary, named: Mapping[str, Weights]) -> tuple[str, ...]:
    return (
        summary.protocol,
        _extractor(summary, named),
        ", ".join(summary.threat_levels),
        ", ".join(f"{poisons} of {images}" for poisons, images in summary.poisons),
        rate_cell(summary.poisoned),
        rate_cell(summary.control, summary.distinct_controls),
        "none" if summary.mcnemar_p is None else f"{summary.mcnemar_p:.2g}",
        clean_cell(summary),
    )


def _extractor(summary: Summary, named: Mapping[str, Weights]) -> str:
    if summary.extractor is None:
        return "none"
    seen = "\nseen in pre-training" if summary.seen_in_pretraining else ""
    return f"{summary.extractor[:8]}\n{_training(named[summary.extractor])}{seen}"


def _training(extractor: Weights) -> str:
    """What an extractor was trained on, as far as its file says."""
    pretraining = extractor.record["pretraining"]
    if pretraining.get("imported"):
        return spelling.printable(str(pretraining.get("dataset", "unknown data")), 40)
    base = str(extractor.record["provenance"].get("base", "unknown base"))[:40]
    return f"{base} {spelling.format_numbers(extractor.record['classes'])}"
