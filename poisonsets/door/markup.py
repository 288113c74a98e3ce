"""What a notebook shows: tables and pictures in markup without scripts; whatever comes from a file is escaped."""

from collections.abc import Iterable, Sequence

from poisonsets.manifests.files import html
from poisonsets.manifests.files.pixels import Images

SIDE = 64


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a title; cells are plain text."""
    head = "".join(f"<th>{html.text(one)}</th>" for one in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.text(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<p>{html.text(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def pictures(title: str, images: Iterable[tuple[str, Images]]) -> str:
    """Images uint8 [H, W, 3] in a row, each under a caption of plain text."""
    figures = "".join(html.figure(image, html.text(caption), SIDE, SIDE) for caption, image in images)
    return f'<p>{html.text(title)}</p><div style="display:flex;flex-wrap:wrap;gap:8px">{figures}</div>'
