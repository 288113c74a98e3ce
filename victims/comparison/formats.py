"""A comparison as text: plain, Markdown, CSV, LaTeX, JSON, or a page that stands alone.

Names come from strangers' manifests: each format escapes what would be markup, a command or a spreadsheet's formula.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from poisonsets.manifests.files import html
from poisonsets.manifests.spelling import printable, unknown
from poisonsets.victims.comparison.ranking import Comparison
from poisonsets.victims.comparison.record import HEAD, cells, document

Format: TypeAlias = Literal["table", "md", "csv", "tex", "json", "html"]
Lines: TypeAlias = Sequence[Sequence[str]]

_STYLE: Final = """\
body { font: 16px/1.45 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top;
  padding: .25rem .6rem; border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
"""
_TEX: Final = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}


def written(found: Comparison, style: Format) -> str:
    """The comparison in a format, ending in a line break.

    Raises:
        UsageError: there is no such format.
    """
    if style not in get_args(Format):
        raise unknown("format", str(style), get_args(Format))
    record = document(found)
    if style == "json":
        return json.dumps(record, indent=2, sort_keys=True) + "\n"
    if style == "csv":
        return _csv(record)
    if style == "html":
        return _page(record)
    writer: Callable[[Lines], list[str]] = {"table": _plain, "md": _markdown, "tex": _latex}[style]
    escape: Callable[[str], str] = {"table": printable, "md": _md, "tex": _tex}[style]
    lead = {"table": "", "md": "", "tex": "% "}[style]
    parts = [lead + escape(record["metric"])]
    for group in record["groups"]:
        lines = [HEAD, *(cells(entry) for entry in group["entries"])]
        parts += ["", lead + escape(group["title"]), ""]
        parts += writer([[escape(cell) for cell in line] for line in lines])
        parts += ["", *(lead + escape(line) for line in group["verdict"])]
    return "\n".join(parts) + "\n"


def _plain(lines: Lines) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _markdown(lines: Lines) -> list[str]:
    head, *others = (f"| {' | '.join(line)} |" for line in lines)
    return [head, "|" + "---|" * len(lines[0]), *others]


def _latex(lines: Lines) -> list[str]:
    head, *others = (" & ".join(line) + r" \\" for line in lines)
    return [
        rf"\begin{{tabular}}{{{'l' * len(lines[0])}}}",
        r"\hline",
        head,
        r"\hline",
        *others,
        r"\hline",
        r"\end{tabular}",
    ]


def _md(text: str) -> str:
    # Brackets and percent signs of our own figures are no markup by themselves; a link needs both pairs of brackets.
    escaped = re.sub(r"([\\`*_|~#!()\[\]])", r"\\\1", printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in printable(text))


def _csv(record: dict[str, Any]) -> str:
    """One line an entry, with all fields of the JSON record and the group's title and verdict."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    lines = [
        {**entry, "title": group["title"], "verdict": "; ".join(group["verdict"])}
        for group in record["groups"]
        for entry in group["entries"]
    ]
    for number, line in enumerate(lines):
        if number == 0:
            writer.writerow(line)
        writer.writerow("" if value is None else _cell(value) for value in line.values())
    return out.getvalue()


def _cell(value: object) -> str:
    """A value as a spreadsheet shows it: text that would be a formula there begins with an apostrophe."""
    text = printable(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _page(record: dict[str, Any]) -> str:
    title = f"Comparison by {record['by']}"
    parts = [f"<h1>{html.text(title)}</h1>", f"<p>{html.text(record['metric'])}</p>"]
    for group in record["groups"]:
        lines = [cells(entry) for entry in group["entries"]]
        head = "".join(f"<th>{html.text(name)}</th>" for name in HEAD)
        body = "\n".join("<tr>" + "".join(f"<td>{html.text(cell)}</td>" for cell in line) + "</tr>" for line in lines)
        verdict = "".join(f"<p>{html.text(line)}</p>" for line in group["verdict"])
        parts += [f"<h2>{html.text(group['title'])}</h2>", f"<table><tr>{head}</tr>\n{body}</table>", verdict]
    return html.document(html.text(title), _STYLE, "\n".join(parts))
