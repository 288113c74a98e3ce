"""The ways that need torch: weights that victims start from, rows of results; and what terminals and pages show."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, Final

import h5py
from golden.making import golden_base
from hostile.judging import Offer, Verdict, add_base, parse_spec, rehashed, said
from hostile.pickles import in_a_torch_file

from poisonsets.cli import score_table
from poisonsets.cli.main import run
from poisonsets.manifests.errors import PoisonsetsError
from poisonsets.victims.networks.imported_weights import Description
from poisonsets.victims.networks.weights import load_weights
from poisonsets.victims.networks.weights_cache import add_weights
from poisonsets.victims.results.folder import SETTINGS, ResultsFolder, open_results
from poisonsets.victims.results.summary import summarise
from poisonsets.victims.scoring.score import Score

SMALL: Final = Description("convnet@width=0.125", mean=("0.5",) * 3, std=("0.5",) * 3)
RAW: Final = ("<script", "<img src=x", "\x1b", "\x07", "\u202e", "\r")


def an_extractor(file: Path, _scratch: Path) -> Verdict:
    return said(lambda: load_weights(file))


def added(file: Path, scratch: Path, name: str = "state.pth", words: Description | None = None) -> Verdict:
    """Offered to `weights add` under a file name, as weights of the network that the honest file is of."""
    path = scratch / name
    path.write_bytes(file.read_bytes())
    return said(lambda: add_weights(str(path), words or SMALL, cache=scratch / "cache"))


def own_added(file: Path, scratch: Path) -> Verdict:
    """Offered to `weights add` as a weights file of ours, which says itself what it is."""
    return added(file, scratch, "w.safetensors", Description(SMALL.network))


def added_in_torch(file: Path, scratch: Path) -> Verdict:
    """A payload as the value of a file in torch's older form."""
    whole = scratch / "whole"
    whole.write_bytes(in_a_torch_file(file.read_bytes()))
    return added(whole, scratch)


def added_in_a_zip(file: Path, scratch: Path) -> Verdict:
    """A payload as the value of a file in torch's newer form."""
    with zipfile.ZipFile(scratch / "whole", "w") as made:
        made.writestr("archive/data.pkl", file.read_bytes())
    return added(scratch / "whole", scratch)


def _row_at(file: Path, scratch: Path) -> tuple[ResultsFolder, str]:
    """A results folder with this file where the row of its own job would be."""
    try:
        job = str(json.loads(file.read_bytes().decode("ascii", "replace"))["job"])
    except (ValueError, KeyError, TypeError, RecursionError):
        job = "a" * 64
    (scratch / "rows").mkdir()
    name = job if len(job) == 64 and job.isalnum() else "a" * 64
    (scratch / "rows" / f"{name}.json").write_bytes(file.read_bytes())
    return ResultsFolder(scratch), name


def a_row(file: Path, scratch: Path) -> Verdict:
    folder, job = _row_at(file, scratch)
    return said(lambda: folder.row(job))


def settings(file: Path, scratch: Path) -> Verdict:
    """Offered as the settings that a results folder records."""
    (scratch / SETTINGS).write_bytes(file.read_bytes())

    def resume() -> None:
        with open_results(scratch, {"protocols": []}, resume=True):
            pass

    return said(resume)


def a_shown_row(file: Path, scratch: Path) -> Verdict:
    folder, job = _row_at(file, scratch)
    try:
        row = folder.row(job)
    except PoisonsetsError as error:
        return Verdict(error.exit_code, words=str(error))
    assert row is not None
    score = Score((row,), summarise((row,)))
    with contextlib.redirect_stdout(io.StringIO()) as text:
        score_table.table(score, file.stem)
    document = score_table.document(score, file, found=None, not_checked=())
    return _clean({"table": text.getvalue(), "json": json.dumps(document)})


def a_shown_set(file: Path, scratch: Path) -> Verdict:
    """Everything that the command line prints of a set with these words in it."""
    path = str(rehashed(scratch / "set", "manifest.json", file.read_bytes()))
    with h5py.File(scratch / "golden.h5", "w") as made:
        for name in ("train", "test"):
            made[f"{name}/images"], made[f"{name}/labels"] = (
                golden_base().split(name).images,
                golden_base().split(name).labels,
            )
    add_base(parse_spec(f"hdf5:{scratch / 'golden.h5'}"), cache=scratch / "cache")
    page = scratch / "page.html"
    said_of_it: dict[str, str] = {}
    for name, command in {
        "verify": ("verify", path, "--html", str(page)),
        "verify json": ("verify", path, "--json"),
        "show": ("show", path),
        "show json": ("show", path, "--json"),
    }.items():
        code, said_of_it[name] = _called(scratch / "cache", *command)
        if code:
            return Verdict(code, words=said_of_it[name])
    return _clean({**said_of_it, "page": page.read_text()})


def _called(cache: Path, *command: str) -> tuple[int, str]:
    before = os.environ.get("POISONSETS_CACHE")
    os.environ["POISONSETS_CACHE"] = str(cache)
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            return run(command), text.getvalue()
    finally:
        os.environ.pop("POISONSETS_CACHE")
        os.environ.update({} if before is None else {"POISONSETS_CACHE": before})


def _clean(texts: dict[str, Any]) -> Verdict:
    """Code 70 where the text holds something that a terminal, or in a page a browser, would obey."""
    for name, text in texts.items():
        if name.endswith("json"):
            json.loads(text)
        raw = [mark for mark in RAW if mark in text and not (mark.startswith("<") and name != "page")]
        if raw or not all(line.isprintable() for line in text.split("\n")):
            return Verdict(70, words=f"{name}: {raw}")
    return Verdict(0)


WAYS: Final[dict[str, tuple[str, str, Offer]]] = {
    "weights as an extractor": ("weights", "weights.safetensors", an_extractor),
    "pickle as an extractor": ("pickles", "weights.safetensors", an_extractor),
    "row": ("rows", "row.json", a_row),
    "weights to add": ("weights", "weights.safetensors", own_added),
    "pickle to add": ("pickles", "", added),
    "pickle in an older torch file to add": ("pickles", "", added_in_torch),
    "pickle in a torch file to add": ("pickles", "", added_in_a_zip),
    "pickle as a row": ("pickles", "row.json", a_row),
    "row that is shown": ("rows-shown", "row.json", a_shown_row),
    "settings of a results folder": ("rows-shown", "", settings),
    "manifest that is shown": ("manifests-shown", "manifest.json", a_shown_set),
}
