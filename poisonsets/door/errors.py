"""Errors in the words of a Python caller: `surrogate=` in the place of `--surrogate`; everything else stays."""

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from poisonsets.manifests.errors import PoisonsetsError

Given = ParamSpec("Given")
Result = TypeVar("Result")
COMMAND = re.compile(r"(`poisonsets\s[^`]*`)")
QUOTED = re.compile(r"`(--[a-z][a-z-]*|-o) ([^`]+)`")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-o\b)")
NAMES = {"-o": "out", "--output": "out", "--set": "settings", "--victim-seeds": "seeds"}


def python_words(text: str) -> str:
    """A message with options as keyword arguments; a command in backquotes, `poisonsets ...`, stays as it is."""
    parts = COMMAND.split(text)
    return "".join(part if COMMAND.fullmatch(part) else _arguments(part) for part in parts)


def speaks_python(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, whose errors name arguments and not options."""

    @wraps(function)
    def called(*given: Given.args, **named: Given.kwargs) -> Result:
        try:
            return function(*given, **named)
        except PoisonsetsError as error:
            message, remedy = python_words(error.message), python_words(error.remedy)
            if (message, remedy) == (error.message, error.remedy):
                raise
            raise type(error)(message, remedy) from error

    return called


def _arguments(text: str) -> str:
    text = QUOTED.sub(lambda found: f'`{_name(found[1])}="{found[2]}"`', text)
    return OPTION.sub(lambda found: f"{_name(found[1])}=", text)


def _name(option: str) -> str:
    return NAMES.get(option, option.removeprefix("--").replace("-", "_"))
