"""A picture of what an attack did: for some poisons base, poison, difference amplified, target. PNG, PDF or SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image as Pillow

    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.files.pixels import Images
    from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet

CELL = 128
GAP = 8
HEADING = 22
COLUMNS = ("base", "poison", "difference", "target")
WIDTH = GAP + len(COLUMNS) * (CELL + GAP)
FINE = 3  # pixels of a PDF's page for each of a PNG's: its words are pixels too
ENDINGS = (".png", ".pdf", ".svg")
MOST_ROWS = 100


class Row(NamedTuple):
    """What a row shows: a poison of a trial, the one that moved most where no slot is named, and words below it."""

    trial: int
    caption: str
    slot: int | None = None


@dataclass(frozen=True)
class _Drawn:
    """A row's cells, each uint8 [H, W, 3] or None where there is nothing to show; the difference's amplification."""

    cells: tuple[Images | None, ...]
    factor: int
    caption: str


def refuse(path: Path) -> None:
    """Refuse a picture that cannot be written, before anything is drawn.

    Raises:
        UsageError: its ending is none of .png, .pdf and .svg.
        MissingError: the file exists, or cannot be made.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--picture {path}: the ending decides the format", f"End it in {', '.join(ENDINGS)}")
    store.refuse_existing(path)


def draw(opened: PoisonSet, base: Base, path: Path, rows: Sequence[Row]) -> None:
    """Write a picture in the format of the path's ending: a row a poison, beside its base and the trial's target.

    The difference is shown around grey, amplified so that the trial's largest change spans the full range. PNG and SVG
    hold the pixels exactly; a PDF holds a JPEG of the page at the finest quality.

    Raises UsageError where a trial has no such slot, or for more than `MOST_ROWS` rows.
    """
    if len(rows) > MOST_ROWS:
        raise UsageError(
            f"a picture of {len(rows)} poisons, at most {MOST_ROWS}", "Choose fewer with --trials, --slots"
        )
    drawn = [_drawn(opened.trial(row.trial), base, row) for row in rows]
    makers = {".png": _png, ".pdf": _pdf, ".svg": _svg}
    store.write_file(path, makers[path.suffix.lower()](drawn))


def _drawn(trial: OpenTrial, base: Base, row: Row) -> _Drawn:
    import numpy as np

    poisons, _ = trial.poisons()
    bases = trial.record.slots.bases
    clean = [None if one is None else base.train.images[one] for one in bases]
    deltas = [
        None if one is None else poison.astype(np.int64) - one for one, poison in zip(clean, poisons, strict=True)
    ]
    moved = [0 if one is None else int(np.abs(one).sum()) for one in deltas]
    slot = max(range(len(moved)), key=moved.__getitem__) if row.slot is None else row.slot
    if slot >= len(poisons):
        raise UsageError(f"--slots {slot}: trial {row.trial} has slots 0-{len(poisons) - 1}")
    factor = max(1, 127 // max(1, *(int(np.abs(one).max()) for one in deltas if one is not None), 1))
    delta = deltas[slot]
    shown = None if delta is None else np.clip(128 + delta * factor, 0, 255).astype(np.uint8)
    targets = trial.target_images(base)
    cells = (clean[slot], poisons[slot], shown, targets[0] if len(targets) else None)
    return _Drawn(cells, factor, row.caption if row.slot is None else f"slot {slot}, {row.caption}")


def _titles(rows: Sequence[_Drawn]) -> list[str]:
    """The columns' headings; an amplification that differs between rows stands in the captions instead."""
    factors = {row.factor for row in rows}
    return [f"{name} x{min(factors)}" if name == "difference" and len(factors) == 1 else name for name in COLUMNS]


def _captions(rows: Sequence[_Drawn]) -> list[str]:
    alike = len({row.factor for row in rows}) == 1
    return [row.caption if alike else f"{row.caption}; difference x{row.factor}" for row in rows]


def _left(column: int) -> int:
    return GAP + column * (CELL + GAP)


def _top(row: int) -> int:
    return HEADING + GAP + row * (CELL + HEADING + GAP)


def _png(rows: Sequence[_Drawn]) -> bytes:
    from io import BytesIO

    encoded = BytesIO()
    _sheet(rows, 1).save(encoded, format="PNG")
    return encoded.getvalue()


def _pdf(rows: Sequence[_Drawn]) -> bytes:
    """One page, without the time of day: equal sets give equal bytes."""
    import time
    from io import BytesIO

    encoded, start = BytesIO(), time.gmtime(0)
    finest = {"quality": 100, "subsampling": 0, "resolution": 72.0 * FINE}
    _sheet(rows, FINE).save(encoded, format="PDF", title="poisons", creationDate=start, modDate=start, **finest)
    return encoded.getvalue()


def _sheet(rows: Sequence[_Drawn], scale: int) -> Pillow.Image:
    """The page as pixels, `scale` for each of its units."""
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (WIDTH * scale, _top(len(rows)) * scale), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(_titles(rows)):
        pen.text((_left(column) * scale, GAP * scale), title, fill="black", font_size=14 * scale)
    for number, (row, caption) in enumerate(zip(rows, _captions(rows), strict=True)):
        for column, cell in enumerate(row.cells):
            if cell is not None:
                fitted = _fitted(Image.fromarray(cell), CELL * scale)
                sheet.paste(fitted, (_left(column) * scale, _top(number) * scale))
        at = (GAP * scale, (_top(number) + CELL + 2) * scale)
        pen.text(at, caption, fill="black", font_size=13 * scale)
    return sheet


def _fitted(image: Pillow.Image, side: int) -> Pillow.Image:
    """The image as large as a square of that side allows: pixels stay squares, larger images are averaged."""
    from PIL import Image

    longer = max(image.size)
    size = (max(1, image.width * side // longer), max(1, image.height * side // longer))
    return image.resize(size, Image.Resampling.NEAREST if longer <= side else Image.Resampling.BOX)


def _svg(rows: Sequence[_Drawn]) -> bytes:
    """Words as words, and each image as a PNG of its own pixels."""
    from base64 import b64encode
    from html import escape

    from poisonsets.manifests.files import png

    def text(left: int, foot: int, words: str, size: int) -> str:
        return f'<text x="{left}" y="{foot}" font-family="sans-serif" font-size="{size}">{escape(words)}</text>'

    height = _top(len(rows))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(text(_left(column), GAP + 14, title, 14) for column, title in enumerate(_titles(rows))),
    ]
    for number, (row, caption) in enumerate(zip(rows, _captions(rows), strict=True)):
        for column, cell in enumerate(row.cells):
            if cell is not None:
                data = b64encode(png.encode(cell)).decode()
                parts.append(
                    f'<image x="{_left(column)}" y="{_top(number)}" width="{CELL}" height="{CELL}" '
                    f'preserveAspectRatio="xMinYMin" style="image-rendering:pixelated" '
                    f'href="data:image/png;base64,{data}"/>'
                )
        parts.append(text(GAP, _top(number) + CELL + 15, caption, 13))
    return "\n".join([*parts, "</svg>", ""]).encode()
