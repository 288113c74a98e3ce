"""The figures of `measured`, as they were written last and as the docs show them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIGURES: Final = Path(__file__).with_name("steps.json")


@dataclass(frozen=True)
class Cost:
    """What the host does for a step: how often it waits for the GPU, what it sends it; and its further waits an epoch.

    The last is None where there are no epochs.
    """

    waits: float
    launches: float
    epoch_waits: float | None


def held() -> dict[str, Cost]:
    """The figures by the names of works."""
    return {name: Cost(**figures) for name, figures in json.loads(FIGURES.read_text()).items()}


def steps_table() -> str:
    """A row a work."""
    lines = ["| a step of | waits | launches | waits an epoch |", "|---|---|---|---|"]
    for name, cost in held().items():
        again = "" if cost.epoch_waits is None else f"{cost.epoch_waits:g}"
        lines.append(f"| {name} | {cost.waits:g} | {cost.launches:,.0f} | {again} |".replace("|  |", "| |"))
    return "\n".join(lines)
