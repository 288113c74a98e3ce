"""A picture of what an attack did: for some trials base, poison, difference amplified, target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.files.pixels import Images
    from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet

CELL = 128
GAP = 8
HEADING = 22
COLUMNS = ("base", "poison", "difference", "target")


def draw(opened: PoisonSet, base: Base, path: Path, *, trials: list[int], captions: list[str]) -> None:
    """Write a PNG with one row a trial: the poison that moved most, beside its base and the trial's target.

    The difference is shown around grey, amplified so that the budget (or the largest change) spans the full range.

    Args:
        opened: the set.
        base: its base dataset.
        path: the PNG to write.
        trials: trial numbers, top to bottom.
        captions: one line a row, printed under it.
    """
    from io import BytesIO

    from PIL import Image, ImageDraw

    from poisonsets.manifests.files import store

    row_height = CELL + HEADING + GAP
    width = GAP + len(COLUMNS) * (CELL + GAP)
    sheet = Image.new("RGB", (width, HEADING + GAP + row_height * len(trials)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, number in enumerate(trials):
        cells, factor = _row(opened.trial(number), base)
        top = HEADING + GAP + row * row_height
        for column, cell in enumerate(cells):
            left = GAP + column * (CELL + GAP)
            sheet.paste(Image.fromarray(cell).resize((CELL, CELL), Image.Resampling.NEAREST), (left, top))
            if row == 0:
                title = f"{COLUMNS[column]} x{factor:g}" if column == 2 else COLUMNS[column]
                pen.text((left, GAP), title, fill="black", font_size=14)
        pen.text((GAP, top + CELL + 2), captions[row], fill="black", font_size=13)
    encoded = BytesIO()
    sheet.save(encoded, format="PNG")
    store.write_file(path, encoded.getvalue())


def _row(trial: OpenTrial, base: Base) -> tuple[list[Images], float]:
    """The four cells of a trial, each uint8 [H, W, 3], and the difference's amplification."""
    import numpy as np

    poisons, _ = trial.poisons()
    clean = base.train.images[[slot or 0 for slot in trial.record.slots.bases]]
    delta = poisons.astype(np.int64) - clean
    slot = int(np.abs(delta).sum(axis=(1, 2, 3)).argmax())
    factor = max(1, 127 // max(1, int(np.abs(delta).max())))
    shown = np.clip(128 + delta[slot] * factor, 0, 255).astype(np.uint8)
    return [clean[slot], poisons[slot], shown, trial.target_images(base)[0]], float(factor)
