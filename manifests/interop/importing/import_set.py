"""Import a foreign set as one of ours, complete or not at all, for `verify` to judge.

Nothing is written unless every trial can be imported, or the user wants only those that can.
"""

import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from poisonsets.manifests import limits
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.format import Format
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.records import RecordBuilder
from poisonsets.manifests.interop.importing.resolve import ResolvedTrial, UnresolvedError, resolve
from poisonsets.manifests.records.fields import Name, Title, first_fault
from poisonsets.manifests.records.manifest import Tool
from poisonsets.manifests.records.origin import AttackRecord, ForeignSetup
from poisonsets.manifests.sets import writer
from poisonsets.manifests.verification.findings import CodeFindings, Finding, Findings, exit_code, first_of
from poisonsets.manifests.workers import Progress, silent


@dataclass(frozen=True)
class ImportResult:
    """The result of an import.

    Attributes:
        format: the format's name.
        content_digest: the identity of the set that was written; None if none was.
        trials, kept_out: numbers of the trials that were and that could not be imported.
        by_code: the findings, the gravest first.
    """

    format: str
    content_digest: str | None
    trials: tuple[int, ...]
    kept_out: tuple[int, ...]
    by_code: tuple[CodeFindings, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The first findings of every code."""
        return first_of(self.by_code)

    @property
    def worst(self) -> int:
        """The exit code: 0 if every trial was imported; 3 if one cannot be read and nothing was written; else 1."""
        worst = exit_code(one.code for one in self.by_code)
        return min(worst, 1) if self.content_digest is not None else worst


def import_set(
    output: Path,
    chosen: Format,
    source: Path,
    base: Base,
    claims: Claims,
    *,
    name: str,
    number: int | None = None,
    only: tuple[int, ...] | None = None,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> ImportResult:
    """Read a foreign set and write it as one of ours.

    Args:
        output: the folder of the new set, absent or empty.
        source: the file, the trial's folder, or the folder of numbered trials.
        name: the name of the new set.
        number: the number of a single trial whose path does not give one.
        only: the trials to import; None imports all.
        skip_bad: leave out trials that cannot be imported; else one of them prevents the whole import.
        progress: called with (trials read, trials in all).

    Raises:
        UsageError: a unit is ambiguous, a trial does not exist, or no manifest can express a value.
        MissingError: a file is missing, or the output folder is refused.
    """
    places = formats.trial_places(chosen, source, number)
    places = {one: places[one] for one in _wanted(source, tuple(places), only)}
    head = _head(source, chosen, base, claims, name)
    request = _request(head, claims, tuple(places), chosen)
    _start_over(output, request)
    builder, findings = RecordBuilder(base, claims), Findings()
    with writer.write_set(output, request, resume=False) as unfinished:
        try:
            for done, (one, place) in enumerate(places.items()):
                resolved = _resolved(chosen, place, one, base, claims, findings)
                if resolved is not None:
                    unfinished.add_trial(builder.record(one, resolved), resolved.images)
                progress(done + 1, len(places))
            bad = tuple(one for one in places if one not in builder.trials)
            if (bad and not skip_bad) or not builder.trials:
                _remove(output)
                return ImportResult(chosen.name, None, (), bad, findings.by_code())
            for path, data in builder.files():
                unfinished.add_file(path, data)
            manifest = unfinished.publish({**head, **builder.triggers()}, {"imported_from": chosen.name})
        except PoisonsetsError:
            _remove(output)
            raise
    return ImportResult(chosen.name, manifest.content_digest, tuple(builder.trials), bad, findings.by_code())


def _start_over(output: Path, request: dict[str, Any]) -> None:
    """Remove what a killed import of the same command left, since reading again is cheaper than comparing.

    Raises:
        MissingError: the unfinished set is another command's.
    """
    partial = writer.partial_path(output)
    if partial.is_dir():
        with store.locked(partial):
            left = partial / writer.REQUEST
            if not left.exists():
                return
            found = canonical_json.loads(store.read_file(left, limits.MANIFEST_BYTES), str(left))
            if not (differing := canonical_json.difference(found, request)):
                _remove(output)
                return
        store.refuse_nonempty(output)
        place = f"{partial}: an unfinished set is here, of another command ({differing})"
        raise MissingError(place, f"Remove {partial.name}")


def _remove(output: Path) -> None:
    store.remove_folder(writer.partial_path(output))


def _wanted(source: Path, found: tuple[int, ...], only: tuple[int, ...] | None) -> list[int]:
    absent = sorted(set(only or ()) - set(found))
    if absent:
        raise UsageError(f"{source}: there is no trial {absent[0]}", f"{len(found)} are there")
    return sorted(found if only is None else only)


def _resolved(
    chosen: Format, place: Path, number: int, base: Base, claims: Claims, findings: Findings
) -> ResolvedTrial | None:
    """Read and resolve the trial at a path; None if it cannot be imported, and the findings say why."""
    try:
        resolved = resolve(chosen.read(place, base), number, base, claims)
    except (DamagedError, MissingError) as error:
        # Without the trial's own folder, equal errors have equal messages.
        message = error.message.replace(f"{place}/", "").removeprefix(f"{place}: ")
        findings.add(Finding("D701", message, error.remedy, trial=number))
        return None
    except UsageError as error:
        raise UsageError(f"trial {number}: {error.message}", error.remedy) from error
    except UnresolvedError as error:
        findings.add(replace(error.finding, trial=number))
        return None
    for hint in resolved.hints:
        findings.add(replace(hint, trial=number))
    return resolved


def _head(source: Path, chosen: Format, base: Base, claims: Claims, name: str) -> dict[str, Any]:
    try:
        TypeAdapter(Title).validate_python(name, strict=True)
        TypeAdapter(Name).validate_python(claims.attack, strict=True)
    except ValidationError as error:
        raise UsageError(f"no manifest can say this: {first_fault(error)}", "Change --name or --attack") from error
    of = "" if claims.setup is None else f", setup {claims.setup.name}"
    where = source.resolve().name.encode("utf-8", "replace").decode("utf-8", "replace")[:200]
    return {
        "name": name,
        "base": base.pin(),
        "setup": ForeignSetup(name=f"{chosen.name}: {where}{of}"[:4096]),
        "seed": 0,
        "attack": AttackRecord(name=claims.attack, version=1, settings={}),
        "tool": Tool(name="poisonsets", version=version("poisonsets")),
        "libraries": {
            **{library: version(library) for library in ("numpy", "pillow", "h5py", "pydantic")},
            "python": platform.python_version(),
        },
    }


def _request(head: dict[str, Any], claims: Claims, trials: tuple[int, ...], chosen: Format) -> dict[str, Any]:
    """What identifies an unfinished import."""
    plain = {
        key: value.model_dump(mode="json") if isinstance(value, BaseModel) else value for key, value in head.items()
    }
    return {
        **plain,
        "format": chosen.name,
        "trials": list(trials),
        "constraint": claims.constraint.model_dump(mode="json"),
        "labels": claims.labels,
        "composition": claims.composition.rule,
        "unit": claims.unit,
    }
