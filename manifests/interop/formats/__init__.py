"""The foreign formats, one file each; the listing of this folder is the registry."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from poisonsets.manifests import limits
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.interop.format import Format
from poisonsets.manifests.interop.image_arrays import unlinked
from poisonsets.manifests.plugins import Origin, by_name, load_plugins, offered, package_of
from poisonsets.manifests.spelling import unknown

AUTO: Final = "auto"
GROUP: Final = "poisonsets.formats"
LOOKED_AT: Final = 20  # numbered folders, before a folder counts as of no format
_NUMBERED: Final = re.compile(r"(?:trial[-_ ]?)?([0-9]{1,5})", re.IGNORECASE)
_others: list[ModuleType] = []


@cache
def formats() -> Mapping[str, Format]:
    """All formats by name, in alphabetical order; raises as `load_plugins`."""
    modules = load_plugins(__name__) + _others
    return by_name("formats", ((module.FORMAT.name, module, module.FORMAT) for module in modules))


def take_plugins() -> list[Origin]:
    """Add the formats of other packages, entry points `poisonsets.formats` to modules with `FORMAT`, for this process.

    Raises and warns as `load_plugins`.
    """
    _others[:] = offered(GROUP, "FORMAT")
    formats.cache_clear()
    formats()  # two of one name are refused here
    named = [(module.FORMAT.name, package_of(module.__name__, GROUP)) for module in _others]
    return [Origin("format", name, *package) for name, package in named if package is not None]


def find_format(name: str, path: Path) -> Format:
    """The format of that name, or for `auto` the one detected at the path.

    Raises:
        UsageError: there is no format of that name, or `auto` detects none.
        MissingError: there is no such file or folder.
    """
    if name not in formats() and name != AUTO:
        raise unknown("format", name, [*formats(), AUTO])
    if not path.exists():
        raise MissingError(f"{path}: no such file or folder")
    if name != AUTO:
        return formats()[name]
    found = sniff_format(path)
    if found is None:
        raise UsageError(f"{path}: its format is not recognised", f"Name one of {', '.join(formats())}")
    return found


def sniff_format(path: Path) -> Format | None:
    """Detect the format of a file, a folder, or a folder of numbered trials; None if it is unknown."""
    places = [path]
    if path.is_dir():
        places += [place for _, place in sorted(trial_folders(path).items())[:LOOKED_AT]]
    return next((one for place in places for one in formats().values() if one.sniff(place)), None)


def trial_folders(path: Path) -> dict[int, Path]:
    """The folders in a folder that are named by a trial's number: `17`, `00017`, `trial-17`.

    Raises:
        UsageError: two of them have one number, or there are too many.
        MissingError: the folder cannot be read.
        DamagedError: one of them is a link.
    """
    found: dict[int, Path] = {}
    with store.refusals(path):
        named = [(match, one) for one in sorted(path.iterdir()) if (match := _NUMBERED.fullmatch(one.name))]
        entries = [(int(match[1]), one) for match, one in named if unlinked(one).is_dir()]
    for number, entry in entries:
        if number in found:
            raise UsageError(f"{path}: {found[number].name} and {entry.name} are both trial {number}")
        found[number] = entry
    if len(found) > limits.TRIALS:
        raise UsageError(f"{path}: {len(found)} numbered folders, a set holds at most {limits.TRIALS} trials")
    return found


def trial_places(chosen: Format, path: Path, number: int | None) -> dict[int, Path]:
    """The path of each trial of a set, by its number.

    A file or a trial's folder is one trial, numbered as given, else as its folder is, else 0. Any other folder holds
    numbered trials.

    Raises:
        UsageError: a number is given for a folder of trials, or as `trial_folders`.
        MissingError, DamagedError: as `trial_folders`.
    """
    several = {} if not path.is_dir() or chosen.sniff(path) else trial_folders(path)
    if not several:
        match = _NUMBERED.fullmatch(path.resolve().name if path.is_dir() else "")
        return {number if number is not None else int(match[1]) if match else 0: path}
    if number is not None:
        raise UsageError(
            f"{path}: a folder of {len(several)} trials, whose names are their numbers", "Leave out --number"
        )
    return several
