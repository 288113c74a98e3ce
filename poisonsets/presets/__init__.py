"""Presets: settings by name, in TOML files, this folder's or the user's, with a table per attack.

`published` has no file: it stands for the attacks' defaults, the values of their papers.
"""

import tomllib
from pathlib import Path
from typing import Final

from poisonsets import attacks, registry
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import store
from poisonsets.settings import spell_setting

PUBLISHED: Final = "published"
FOLDER: Final = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The presets' names, `published` first."""
    return (PUBLISHED, *sorted(path.stem for path in FOLDER.glob("*.toml")))


def preset_settings(name: str, attack: registry.RegisteredAttack) -> dict[str, str]:
    """A preset's settings for an attack, as a user types them; empty if it has no table for the attack.

    Args:
        name: one of `names()`, or the path of a TOML file with tables like `[bullseye-polytope]`.
        attack: whose table is wanted.

    Raises:
        UsageError: an unknown name, a file that is not TOML, or a table that fits no attack.
        MissingError, DamagedError: the file cannot be read.
    """
    if name == PUBLISHED:
        return {}
    path = FOLDER / f"{name}.toml" if name in names() else Path(name)
    if path.suffix != ".toml":
        raise UsageError(f"there is no preset called {name!r}", f"Known are {', '.join(names())}, or a .toml file")
    return _tables(path).get(attack.name, {})


def tables() -> dict[str, dict[str, dict[str, str]]]:
    """Every shipped preset by name: its settings for each attack."""
    return {name: _tables(FOLDER / f"{name}.toml") for name in names() if name != PUBLISHED}


def _tables(path: Path) -> dict[str, dict[str, str]]:
    """A file's tables by the attacks' full names, each checked against its attack."""
    try:
        document = tomllib.loads(store.read_file(path, 1 << 20, follow=True).decode())
    except ValueError as error:
        raise UsageError(f"{path}: not a TOML file ({str(error)[:100]})") from error
    found = {}
    for table, values in document.items():
        if not isinstance(values, dict):
            raise UsageError(f"{path}: {table} is not a table", "Write [attack-name], then its settings")
        entry = attacks.find(table)
        found[entry.name] = {key: spell_setting(value) for key, value in values.items()}
        entry.settings(found[entry.name])
    return found
