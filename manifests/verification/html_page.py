"""A verification as one HTML page: verdict, findings, figures and the worst poisons, without scripts.

Everything from a set is escaped, pictures are PNG in `data:` URLs, and a content security policy forbids all else, so
the page of a hostile set is safe to open, send and archive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Final

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import html
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet
from poisonsets.manifests.verification.findings import Report

PICTURED: Final = 12

_STYLE: Final = """\
body { font: 16px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.verdict { padding: .6rem .9rem; border-left: .4rem solid #2a7d3f; background: #eef6f0 }
.verdict.false { border-color: #b3261e; background: #fbeeed }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .25rem .6rem;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere } th { font-weight: 600 }
.poison { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0 0 1.2rem } figure { margin: 0 }
img { image-rendering: pixelated; border: 1px solid #bbb; display: block } figcaption { font-size: .85rem }
code { overflow-wrap: anywhere }
"""


@dataclass(frozen=True)
class PicturedPoison:
    """A poison to show: a caption that says which and why, and its pictures, uint8 [H, W, 3] each, by their titles."""

    caption: str
    pictures: dict[str, Images]


def page(report: Report, shown: Sequence[PicturedPoison] = ()) -> str:
    """A report as an HTML page that shows these poisons."""
    holding = report.holding[0].upper() + report.holding[1:]
    verdict = {0: f"{holding}.", 1: "Claims do not hold.", 3: "The set is damaged."}
    parts = [*_summary(report), *_findings(report)]
    if report.figures is not None:
        parts += _section("Figures", _table(report.figures.rows()))
    unchecked = "".join(
        f"<li>{html.text(claim)}</li>"
        for claim in (*report.not_checked, *(f"what {one} does" for one in report.plugins))
    )
    parts += [*_pictures(shown), *_section("Not checked", f"<ul>{unchecked}</ul>")]
    title, truth = html.text(f"Verification of {report.path}"), "true" if report.clean else "false"
    first = [f"<h1>{title}</h1>", f'<p class="verdict {truth}">{escape(verdict[report.worst])}</p>']
    return html.document(title, _STYLE, "\n".join([*first, *parts]))


def worst_poisons(opened: PoisonSet, base: Base, report: Report) -> tuple[PicturedPoison, ...]:
    """At most `PICTURED` poisons: those that violations name, then those that use most of their budget.

    Of a damaged set there are none.

    Raises:
        DamagedError: the set has changed since it was verified.
    """
    if report.worst == 3 or report.figures is None:
        return ()
    wanted: dict[tuple[int, int], str] = {}
    for finding in report.findings:
        if finding.kind == "violation" and finding.trial is not None and finding.slot is not None:
            wanted.setdefault((finding.trial, finding.slot), f"{finding.code}: {finding.message}")
    for poison in report.figures.worst:
        wanted.setdefault((poison.trial, poison.slot), f"uses {poison.used} of its budget")
    chosen = list(wanted)[:PICTURED]
    found: dict[tuple[int, int], PicturedPoison] = {}
    for number, places in groupby(sorted(chosen), key=lambda place: place[0]):  # so that a trial is read once
        captions = {slot: wanted[number, slot] for _, slot in places}
        found.update(_of_trial(opened.trial(number), base, captions))
    return tuple(found[place] for place in chosen if place in found)


def _of_trial(trial: OpenTrial, base: Base, wanted: dict[int, str]) -> Iterator[tuple[tuple[int, int], PicturedPoison]]:
    samples, targets = trial.samples(), _targets(trial, base)
    for row, (number, slot) in enumerate(zip(samples.trials.tolist(), samples.slots.tolist(), strict=True)):
        if number != trial.number or slot not in wanted or slot >= len(trial.record.slots.bases):
            continue
        poison, index = samples.images[row], trial.record.slots.bases[slot]
        pictures = {"poison": poison}
        if index is not None and index < len(base.train.labels) and poison.shape == base.train.images[index].shape:
            difference, factor = amplified(poison, base.train.images[index])
            pictures = {f"base train/{index}": base.train.images[index], "poison": poison}
            pictures[f"difference x {factor}, grey is none"] = difference
        caption = f"trial {number} slot {slot}: {wanted.pop(slot)}"  # a duplicate slot is shown once
        yield (number, slot), PicturedPoison(caption, {**pictures, **targets})


def _targets(trial: OpenTrial, base: Base) -> dict[str, Images]:
    """The trial's first target as the victim sees it, by title; empty if it cannot be shown."""
    try:
        first = trial.targets(base)[:1]
    except (DamagedError, UsageError):  # the findings say why
        return {}
    worn = "" if trial.record.trigger is None else " with the trigger"
    return {f"target {one.record.image_id}{worn}": one.stamped for one in first}


def amplified(image: Images, base: Images) -> tuple[Images, int]:
    """The difference of two images uint8 [H, W, 3] around grey (128), and the whole factor, 1 or more, it is scaled by.

    At most a tenth of the values is clipped; scaled to fit all, a trigger would hide the perturbation beside it.
    """
    delta = image.astype(np.int64) - base
    far = int(np.quantile(np.abs(delta), 0.9, method="higher"))
    factor = max(1, 127 // max(1, far))
    return np.clip(128 + factor * delta, 0, 255).astype(np.uint8), factor


def _summary(report: Report) -> Iterator[str]:
    rows = [("set", report.path), ("content digest", report.content_digest or "none: the manifest cannot be read")]
    rows += [(name, str(value)) for name, value in report.checked.items()]
    if not report.clean:
        rows += [(f"verdict: {verdict}", trials) for verdict, trials in report.verdict_rows()]
    if report.rates:
        rows.append(("poisons per trial", report.rates_line()))
    yield _table(rows)
    if report.sample is not None:
        yield from (f"<p>{html.text(line)}</p>" for line in report.sample.lines())


def _findings(report: Report) -> Iterator[str]:
    for one in report.by_code:
        title = f"{one.code}: {one.count} {one.kind}{'s' if one.count > 1 else ''}"
        yield from _section(title, _table([(each.place, each.sentence) for each in one.first]))
        if one.count > len(one.first):
            yield f"<p>... and {one.count - len(one.first)} more.</p>"


def _pictures(shown: Sequence[PicturedPoison]) -> Iterator[str]:
    if shown:
        yield "<h2>Poisons that findings name, and those that use most of their budget</h2>"
    for one in shown:
        pictures = "".join(_figure(what, image) for what, image in one.pictures.items())
        yield f'<p>{html.text(one.caption)}</p>\n<div class="poison">{pictures}</div>'


def _figure(what: str, image: Images) -> str:
    return html.figure(image, html.text(what), 128, max(1, round(128 * image.shape[0] / image.shape[1])))


def _section(title: str, body: str) -> Iterator[str]:
    yield f"<h2>{html.text(title)}</h2>"
    yield body


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{html.text(name)}</th><td>{html.text(value)}</td></tr>\n" for name, value in rows)
    return f"<table>\n{cells}</table>"
