"""The one family of errors people see: a sentence with a place, a cause and a remedy, and an exit code."""

from typing import ClassVar


class PoisonsetsError(Exception):
    """Something the user can act on.

    Args:
        message: the place, what was found and what was wanted, in one line.
        remedy: what to do about it, in one line; may be empty.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}" if remedy else message)


class ViolationError(PoisonsetsError):
    """A check found that a claim does not hold, or a trial was refused (exit 1)."""

    exit_code = 1


class UsageError(PoisonsetsError):
    """The command or call asks for something that has no meaning (exit 2)."""

    exit_code = 2


class DamagedError(PoisonsetsError):
    """An input cannot be read, or its bytes are not those that were written (exit 3)."""

    exit_code = 3


class UnsupportedError(DamagedError):
    """An input is whole and valid, but says something that this version cannot read (exit 3)."""


class MissingError(PoisonsetsError):
    """Something is missing or refused by the environment: a base, a device, a permission, a lock (exit 4)."""

    exit_code = 4
