"""The parts of an experiment's page: text, lists, tables and pictures in the frame of `manifests.files.html`."""

from collections.abc import Iterable, Sequence
from typing import Final

from poisonsets.manifests.files import html
from poisonsets.manifests.files.pixels import Images

_STYLE: Final = """\
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; color: #1a1a1a;
  background: #fff }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem } h3 { font-size: 1rem }
p, li { max-width: 44rem } a { color: #0b4f8a }
.answer { font-size: 1.2rem; line-height: 1.45; padding: .8rem 1rem; border-left: .4rem solid #0b4f8a;
  background: #eef4fa; max-width: none }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; padding: 0;
  list-style: none } .beside li { border: 1px solid #bbb; padding: .6rem .8rem }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
caption { text-align: left; font-size: .9rem; color: #444; padding-bottom: .4rem }
caption span { display: block; max-width: calc(100vw - 2rem) }
td, th { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid #ccc;
  min-width: 6.5rem } tbody th { min-width: 4.5rem }
th { font-weight: 600 } td span { display: block } .small { font-size: .85rem; color: #444 }
svg { display: block; width: 100%; max-width: 15rem; height: auto; margin: .2rem 0 }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; margin: .4rem 0 1.4rem } figure { margin: 0; width: 9rem }
img { image-rendering: pixelated; border: 1px solid #999; display: block; width: 8rem; height: auto }
figcaption { font-size: .85rem } code { overflow-wrap: anywhere; background: #f2f2f2; padding: 0 .2em }
@media print { body { max-width: none; margin: 0; font-size: 11pt } .answer { border: 1pt solid #000 }
  .wide { overflow: visible } h2, h3 { break-after: avoid } tr, figure, .pictures { break-inside: avoid } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; `title` is plain text, `body` is markup."""
    parts = ["<main>", f"<h1>{text(title)}</h1>", *body, "</main>"]
    return html.document(text(title), _STYLE, "\n".join(parts))


def text(value: str, most: int = 2000) -> str:
    """As `files.html.text`, for longer texts."""
    return html.text(value, most)


def paragraph(value: str, kind: str = "") -> str:
    """A paragraph of plain text, with a class of the style sheet."""
    return f"<p{_class(kind)}>{text(value)}</p>"


def items(values: Iterable[str], kind: str = "") -> str:
    """A list of plain texts, with a class of the style sheet."""
    return f"<ul{_class(kind)}>{''.join(f'<li>{text(value)}</li>' for value in values)}</ul>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls where the window is narrow: caption and headings in plain text, cells in markup.

    The first cell of a row is its heading.
    """
    columns = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = "\n".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(caption)}"><table>\n'
        f"<caption><span>{text(caption)}</span></caption>\n"
        f"<thead><tr>{columns}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table></div>"
    )


def picture(image: Images, caption: str) -> str:
    """An image uint8 [H, W, 3] with its caption, which also stands in for it."""
    return html.figure(image, text(caption), image.shape[1], image.shape[0])


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
