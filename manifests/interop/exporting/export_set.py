"""Write a set's trials for other tools, one folder per trial: all or none, and equal bytes for equal sets.

An unfinished export is NAME.partial/export, and a finished one is moved to its name. There is nothing to resume: the
next export removes what a killed one left.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.interop.exporting.losses import lost_fields
from poisonsets.manifests.interop.exporting.whole_training_set import training_set_files
from poisonsets.manifests.interop.format import Format
from poisonsets.manifests.interop.formats.webdataset import FORMAT as WEBDATASET
from poisonsets.manifests.overlay.compose import Rule
from poisonsets.manifests.records.manifest import NOTICE
from poisonsets.manifests.records.trial import Trial
from poisonsets.manifests.sets import writer
from poisonsets.manifests.sets.reader import OpenTrial, PoisonSet
from poisonsets.manifests.spelling import format_numbers
from poisonsets.manifests.workers import Progress, silent

PAYLOAD: Final = "export"
ROWS: Final = "which rows are poisons, and their bases"


@dataclass(frozen=True)
class ExportResult:
    """The result of an export: trial numbers, how many files were written, and in words what the export leaves out."""

    trials: tuple[int, ...]
    files: int
    dropped: tuple[str, ...]


def export_set(
    output: Path,
    opened: PoisonSet,
    base: Base,
    chosen: Format,
    *,
    only: Sequence[int] | None = None,
    rule: Callable[[Trial], Rule] | None = None,
    ruled_by: str = "",
    progress: Progress = silent,
) -> ExportResult:
    """Export trials, each into a folder named by its number, without judging their claims.

    Args:
        output: the folder; it must be absent or empty.
        only: the trials to export; None exports all.
        rule: how to compose each trial's whole training set; None writes the poisons alone.
        ruled_by: the name of the rule, for the export's README.
        progress: called with (trials done, trials in all).

    Raises:
        UsageError: the format cannot be written, cannot express a trial, or has no whole training sets.
        MissingError: the output folder is refused, or the base is another one.
        DamagedError: a file of the set is not as recorded.
    """
    if chosen.write is None:
        raise UsageError(f"{chosen.name} is read, but not written", "`poisonsets list formats` says which are")
    if rule is not None and chosen is not WEBDATASET:
        raise UsageError(f"--full is written as {WEBDATASET.name}, not as {chosen.name}", f"Use --to {WEBDATASET.name}")
    base = base.as_pinned(opened.manifest.base)
    numbers = [trial.number for trial in opened.trials] if only is None else sorted(only)
    trials = [opened.trial(number) for number in numbers]
    lost = lost_fields(opened, numbers, chosen)
    if rule is not None:
        lost = (ROWS, *lost)
    files = 0
    with _growing(output) as folder:
        for done, trial in enumerate(trials):
            for path, data in _files(trial, base, chosen, rule):
                store.write_file(folder / str(trial.number) / path, data)
                files += 1
            progress(done + 1, len(trials))
        what = chosen.name if rule is None else f"whole training sets, composed {ruled_by}"
        store.write_file(folder / writer.CARD, _readme(opened, numbers, what, lost).encode())
    return ExportResult(tuple(numbers), files + 1, lost)


def _files(
    trial: OpenTrial, base: Base, chosen: Format, rule: Callable[[Trial], Rule] | None
) -> Iterator[tuple[str, bytes]]:
    if rule is not None:
        return training_set_files(trial, base, rule(trial.record))
    if chosen.write is None:
        raise UsageError(f"{chosen.name} is read, but not written")
    return chosen.write(trial, base)


def _readme(opened: PoisonSet, numbers: Sequence[int], what: str, lost: Sequence[str]) -> str:
    manifest, trials = opened.manifest, format_numbers(numbers)
    left = "".join(f"- {one}\n" for one in lost)
    return f"""# {manifest.name}: poisoned data

**{manifest.notice or NOTICE}**

Trials {trials} of the poison set {manifest.name}, content digest `{manifest.content_digest}`, exported by
poisonsets as {what}; base dataset {manifest.base.name}. One folder per trial.

What the set says and this export does not:

{left}"""


@contextmanager
def _growing(output: Path) -> Iterator[Path]:
    """A folder that gets its final name when the block ends, or is removed if the block raises."""
    store.refuse_nonempty(output)
    partial = writer.partial_path(output)
    store.refuse_unwritable(partial)
    with store.refusals(partial):
        store.make_folder(partial)
        strange = sorted(one.name for one in partial.iterdir() if one.name != PAYLOAD)
    if strange:
        raise MissingError(f"{partial}: not an export that was interrupted ({strange[0]} is in it)", "Remove it")
    with store.locked(partial):
        folder = partial / PAYLOAD
        try:
            with store.refusals(folder):
                if folder.exists():
                    store.disk.remove_tree(folder)
                yield folder
                store.move_folder(folder, partial.with_name(partial.name.removesuffix(".partial")))
        finally:
            store.remove_folder(partial)
