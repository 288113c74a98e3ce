"""Options from a file: `poisonsets --config FILE.toml COMMAND` reads the table of the command, by the options' names.

Precedence: option, environment (`POISONSETS_CRAFT_EPSILON`), file, default. What was used is recorded in the output.
"""

import tomllib
from pathlib import Path
from typing import Any

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files import store

CONFIG_BYTES = 1 << 20


def defaults(path: Path, group: Any) -> dict[str, Any]:
    """The defaults that a file gives to the commands of a group, by command and parameter name.

    Args:
        path: a TOML file with a table a command: `[craft]`, `[base.add]`; keys are option names without dashes in
            front (`class-pair`), values numbers, strings, booleans or lists.
        group: the application's root command.

    Raises:
        UsageError: it is not TOML, or names a command or option that does not exist.
        MissingError, DamagedError: it cannot be read.
    """
    try:
        document = tomllib.loads(store.read_file(path, CONFIG_BYTES, follow=True).decode())
    except ValueError as error:
        raise UsageError(f"{path}: not a TOML file ({str(error)[:100]})") from error
    return _named(document, group, str(path))


def name_environment(group: Any, prefix: str = "POISONSETS") -> None:
    """Give every option of every command the environment variable of its long name: POISONSETS_CRAFT_CLASS_PAIR.

    Written out rather than left to a prefix, which would name variables after Python arguments and would let one
    (`POISONSETS_VERSION`) turn every command into another.
    """
    for name, command in group.commands.items():
        words = f"{prefix}_{name}".upper()
        if hasattr(command, "commands"):
            name_environment(command, words)
            continue
        for one in command.params:
            long = [option[2:] for option in one.opts if option.startswith("--") and option != "--help"]
            if long:
                one.envvar = f"{words}_{long[0]}".replace("-", "_").upper()
                one.show_envvar = False  # a line for each option would bury what it means


def _named(table: dict[str, Any], group: Any, where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        command = group.commands.get(name)
        if command is None or not isinstance(value, dict):
            raise UsageError(f"{where}: [{name}] is no command", f"Known are {', '.join(sorted(group.commands))}")
        if hasattr(command, "commands"):
            found[name] = _named(value, command, f"{where}: [{name}]")
        else:
            found[name] = _options(value, command, f"{where}: [{name}]")
    return found


def _options(table: dict[str, Any], command: Any, where: str) -> dict[str, Any]:
    names = {option.lstrip("-"): one.name for one in command.params for option in one.opts if len(option) > 2}
    for key in table:
        if key not in names:
            raise UsageError(f"{where} {key}: no such option", f"Known are {', '.join(sorted(names))}")
    # Everything goes in as it would be typed, so that a file's 7.5 is refused with the same words as a terminal's.
    return {names[key]: _typed(value) for key, value in table.items()}


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return value if isinstance(value, bool) else str(value)
