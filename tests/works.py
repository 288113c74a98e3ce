"""Three works that write a folder, tiny and quick, to be refused, killed, interrupted and done twice at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pytest
from faulty import HastyDisk, on
from forge import noise_request, small_base, small_set

import poisonsets.manifests.interop.importing.import_set as importing
from poisonsets.crafting import provenance
from poisonsets.crafting.driver import craft_set
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.interop.exporting.export_set import export_set
from poisonsets.manifests.interop.formats import formats
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.import_set import import_set
from poisonsets.manifests.sets.reader import open_set

OUT = "out"


@dataclass(frozen=True)
class Work:
    """Something that writes a folder.

    Attributes:
        name: for people.
        start: writes that folder from nothing, or refuses.
        again: likewise, and goes on with what an interrupted `start` left.
        digest: names what is in a finished folder.
    """

    name: str
    start: Callable[[Path], object]
    again: Callable[[Path], object]
    digest: Callable[[Path], str]


def works(folder: Path) -> tuple[Work, ...]:
    """A craft of two trials, an import of a triple, and an export to a folder of PNG files.

    Args:
        folder: where what they read is kept.
    """
    base = small_base(classes=2, each=4, side=4)
    request = noise_request(base, poisons=2)
    with on(HastyDisk()):
        made = small_set(folder / "set", base, poisons=2)
        export_set(folder / "triples", open_set(made), base, formats()["triple"])
    return (
        Work("craft", partial(craft_set, request=request), partial(craft_set, request=request, resume=True), content),
        Work("import", *(partial(_import, source=folder / "triples", base=base),) * 2, content),
        Work("export", *(partial(_export, source=made, base=base),) * 2, files),
    )


def _import(output: Path, source: Path, base: Base) -> object:
    return import_set(output, formats()["triple"], source, base, Claims(), name="imported", only=(0,))


def _export(output: Path, source: Path, base: Base) -> object:
    return export_set(output, open_set(source), base, formats()["folder"], only=(0,))


def content(folder: Path) -> str:
    """The content digest of a set, all of whose files are read."""
    opened = open_set(folder)
    for record in opened.manifest.files:
        opened.read(record.path)
    return opened.manifest.content_digest


def files(folder: Path) -> str:
    """The sha256 over names and bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def left(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


@contextmanager
def known_versions() -> Iterator[None]:
    """The versions of libraries are asked for once; a thousand sets a test are written on one machine."""
    with pytest.MonkeyPatch.context() as patch:
        known = provenance.libraries()
        patch.setattr(provenance, "libraries", lambda: dict(known))
        patch.setattr(importing, "version", cache(importing.version))
        yield
