"""`poisonsets.list_attacks`: the attacks and their settings."""

from typing import Any

from poisonsets.door.errors import speaks_python


@speaks_python
def list_attacks() -> dict[str, dict[str, Any]]:
    """Every attack by name, with each of its settings and its default; those of installed plugins too.

    Raises:
        MissingError: an attack of this package cannot be loaded.
        UsageError: two attacks have one name.
    """
    from poisonsets import attacks

    return {name: entry.defaults() for name, entry in attacks.attacks().items()}
