"""Weights by name in the cache folder: imported ones, and copies of our own weights files.

They lie beside the default networks of bases, which are called by the digest of their pretraining.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from poisonsets.manifests import limits, spelling
from poisonsets.manifests.errors import MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files import array_file, store
from poisonsets.manifests.files.state_dicts import read_state_dict
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.imported_weights import Description, ImportedWeights, import_known, imported
from poisonsets.victims.networks.known_weights import KNOWN
from poisonsets.victims.networks.shape import parse_shape
from poisonsets.victims.networks.weights import (
    Weights,
    load_weights,
    save_weights,
    trained_on,
    weights_digest,
    weights_record,
)

FOLDER: Final = "weights"
ENDING: Final = ".safetensors"
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CachedWeights:
    """Weights in the cache, their tensors unread.

    Attributes:
        name: what they are called.
        path: of the file.
        bytes: of the file.
        record: as `Weights.record`; empty where the file cannot be used.
        digest: of the tensors, as the file says.
        problem: why it cannot be used.
    """

    name: str
    path: Path
    bytes: int
    record: dict[str, Any]
    digest: str = ""
    problem: str = ""

    @property
    def dataset(self) -> str | None:
        """As `Weights.dataset`."""
        return trained_on(self.record) if self.record else None


def slug(text: str) -> str:
    """The name that a file's stem gives, in the characters of names; empty where none is left."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")[:100]


def cached_path(name: str, cache: Path) -> Path:
    """The place of weights of a name.

    Raises:
        UsageError: it is no name.
    """
    if not _SLUG.fullmatch(name) or name.endswith(ENDING):
        raise UsageError(
            f"{name[:100]!r} is no name of weights",
            f"Use up to 100 letters, digits, '.', '_' and '-', without {ENDING}: --name resnet50",
        )
    return cache / FOLDER / f"{name}{ENDING}"


def add_weights(
    source: str, said: Description, *, cache: Path, name: str | None = None
) -> tuple[Weights, tuple[str, ...]]:
    """Keep weights in the cache, under a name that then serves wherever a weights file does.

    Args:
        source: a name of `KNOWN`, or a file: a state dict, or a weights file of ours.
        said: what the user says of it; nothing but the network where name or file say the rest.
        cache: the cache folder.
        name: what to call them; the known name or the file's stem where left out.

    Returns:
        The weights, and the keys of the file that were not used.

    Raises:
        UsageError: as `imported`; it is no name, or other weights have it; or something is said that is known.
        MissingError: there is no such file or package, or the cache cannot be written.
        DamagedError: as `read_state_dict`, `import_known` and `load_weights`.
    """
    path = Path(source)
    called = name or (source if source in KNOWN else slug(path.name.removesuffix(path.suffix)))
    if name is not None:
        cached_path(name, cache)  # before a large file is read
    if source in KNOWN:
        _refuse_said(said, source)
        return _keep_imported(import_known(KNOWN[source], network=said.network), called, cache), ()
    if not path.suffix and not path.exists() and len(path.parts) == 1:
        raise spelling.unknown("file or weights", source, KNOWN)
    found = read_state_dict(path)
    if found.ours:
        _refuse_said(said, source)
        return _keep_own(load_weights(path), said.network, called, cache), ()
    made = imported(found, path, said)
    return _keep_imported(made, called, cache), made.left_out


def _refuse_said(said: Description, source: str) -> None:
    if said != Description(said.network):
        raise UsageError(f"{source} says itself what it is", "Leave out all options but --net and --name")


def _keep_imported(found: ImportedWeights, name: str, cache: Path) -> Weights:
    return _keep(
        *(found.network, name, cache),
        pretraining=found.pretraining,
        provenance={},
        classes=list(found.classes),
        class_names=found.class_names,
    )


def _keep_own(given: Weights, network: str | None, name: str, cache: Path) -> Weights:
    record = given.record
    if network is not None and parse_shape(network) != given.network.spec.shape:
        raise UsageError(f"{given.path}: weights of {given.network.spec.shape}, not of {network}", "Leave out --net")
    parts = {key: record[key] for key in ("pretraining", "provenance", "classes")}
    return _keep(given.network, name, cache, **parts, class_names=record.get("class_names"))


def find_weights(name: str, *, cache: Path) -> Path:
    """The file of weights by name; published ones of `KNOWN` are imported on first use.

    Raises:
        UsageError: it is no name.
        MissingError: there are none of that name, or their package is not installed.
        DamagedError: as `import_known`.
    """
    path = cached_path(name, cache)
    if path.exists():
        return path
    if name in KNOWN:
        return _keep_imported(import_known(KNOWN[name]), name, cache).path
    near = spelling.nearest(name, [*KNOWN, *(one.name for one in list_weights(cache))])
    hint = f"Did you mean {near}? " if near else ""
    listed, added = spelling.command("weights", "list"), spelling.command("weights", "add", "FILE", "--net", "NETWORK")
    raise MissingError(f"no file and no weights in the cache are called {name}", f"{hint}See {listed}, or type {added}")


def list_weights(cache: Path) -> list[CachedWeights]:
    """What the cache holds, by name. Tensors are not read."""
    folder = cache / FOLDER
    with store.refusals(folder):
        paths = sorted(folder.glob(f"*{ENDING}")) if folder.is_dir() else []
    return [_entry(path) for path in paths]


def list_files(places: Sequence[Path]) -> list[CachedWeights]:
    """What files hold, or all files of folders and the folders below, by their paths. Tensors are not read.

    Raises:
        MissingError: there is no such file or folder, or a folder holds no weights.
    """
    found = []
    for place in places:
        with store.refusals(place):
            paths = sorted(place.rglob(f"*{ENDING}")) if place.is_dir() else [place]
            if not paths or not place.exists():
                remedy = "`poisonsets score SET --keep-victims -o RESULTS` writes some"
                raise MissingError(f"{place}: no weights, which are files that end in {ENDING}", remedy)
        found += [replace(_entry(path), name=str(path)) for path in paths]
    return found


def remove_weights(name: str, *, cache: Path) -> CachedWeights:
    """Remove weights from the cache; their former entry.

    Raises:
        UsageError: there are none of that name.
        MissingError: they cannot be removed.
    """
    entries = {one.name: one for one in list_weights(cache)}
    if name not in entries:
        raise spelling.unknown("weights file in the cache", name, entries)
    store.remove_file(entries[name].path, missing_ok=True)
    return entries[name]


def _entry(path: Path) -> CachedWeights:
    size = path.lstat().st_size
    try:
        record, digest = array_file.read_record(path, limit=limits.FILE_BYTES, remedy=_removal(path.stem))
        return CachedWeights(path.stem, path, size, record, digest)
    except PoisonsetsError as error:
        return CachedWeights(path.stem, path, size, {}, problem=str(error))


def _removal(name: str) -> str:
    return f"Type {spelling.command('weights', 'remove', name)}"


def _keep(
    network: Classifier,
    name: str,
    cache: Path,
    *,
    pretraining: dict[str, Any],
    provenance: dict[str, Any],
    classes: Sequence[int],
    class_names: Sequence[str] | None,
) -> Weights:
    """Keep a network under a name; what is there already may only be the same.

    Raises:
        UsageError: it is no name, or other weights have it.
        MissingError: the cache cannot be written.
        DamagedError: what is there cannot be read.
    """
    path = cached_path(name, cache)
    known = (pretraining.get("sha256"), network.spec.input)
    if _DIGEST.fullmatch(name) or (name in KNOWN and known != (KNOWN[name].sha256, None)):
        raise UsageError(f"the name {name} is kept for other weights", "Choose another one: --name NAME")
    record = weights_record(network, pretraining, provenance, classes, class_names)
    store.make_folder(path.parent)
    with store.locked(path.parent, patience=60):
        if path.exists():
            _refuse_other(path, record, weights_digest(network))
        else:
            save_weights(path, network, pretraining, provenance, classes=classes, class_names=class_names)
    return load_weights(path)


def _refuse_other(path: Path, record: dict[str, Any], digest: str) -> None:
    """Refuse to give a name to other weights than those that have it."""
    there, theirs = array_file.read_record(path, limit=limits.FILE_BYTES, remedy=_removal(path.stem))
    if (there, theirs) != (record, digest):
        raise UsageError(
            f"{path.stem}: other weights have that name, of {there.get('network')} with digest {theirs[:12]}",
            f"Choose another one with --name, or type {spelling.command('weights', 'remove', path.stem)}",
        )
