"""The command `poisonsets`: its subcommands, and what every failure looks like to the person at the terminal."""

import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from poisonsets import __version__
from poisonsets.cli import output
from poisonsets.cli.cache import naming_cache
from poisonsets.cli.commands import (
    audit,
    base,
    check_attack,
    compare,
    craft,
    demo,
    export,
    import_,
    list_,
    score,
    show,
    train,
    verify,
    weights,
)
from poisonsets.cli.config import defaults, name_environment
from poisonsets.manifests.errors import MissingError, PoisonsetsError
from poisonsets.manifests.files.store import PERMISSIONS
from poisonsets.manifests.plugins import PluginWarning
from poisonsets.manifests.spelling import printable

app = typer.Typer(
    name="poisonsets",
    help="Craft, verify and score data-poisoning sets for image classifiers (research on defences).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.add_typer(base.app, name="base")
app.add_typer(weights.app, name="weights")
app.command("train")(train.train)
app.command("craft")(craft.craft)
app.command("verify")(verify.verify)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("import")(import_.import_)
app.command("export")(export.export)
app.command("check-attack")(check_attack.check_attack)
app.command("list")(list_.list_)
app.command("show")(show.show)

BUG = 70
INTERRUPTED = 130
LESS_MEMORY = "Use fewer `--workers` or a smaller network"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"poisonsets {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with a table of options a command; flags and environment win.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Craft, verify and score data-poisoning sets for image classifiers (research on defences)."""
    del version  # its callback has spoken already
    if config is not None:
        context.default_map = defaults(config, context.command)


def main() -> None:
    """Run the command line and exit with its code."""
    _pin_cublas()
    _open_closed_streams()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()  # it was said already; the interpreter would say it again
    if code == INTERRUPTED:
        _leave(code)
    sys.exit(code)


def _pin_cublas() -> None:
    """Fix the size of cuBLAS's memory, by which it chooses kernels, for this process and its workers.

    PyTorch reads these once, at the first product; its own default depends on the GPU. More than one size would be
    more than one result on one machine.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    os.environ.pop("CUBLASLT_WORKSPACE_SIZE", None)


def _open_closed_streams() -> None:
    """Discard what is written to a stream that the caller closed (`>&-`), whose number a file would get otherwise."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _leave(code: int) -> None:
    """Die of Ctrl-C with this code, and in any case.

    The interpreter's own end may wait for ever for workers that were stopped half started, and reports a signal in the
    place of the code where an import was interrupted; without workers there is nothing for it to tidy up.
    """
    import gc
    import multiprocessing
    import threading

    sys.stderr.flush()
    # The thread of a pool outlives its workers: what ended it half way would leave semaphores, and a warning of them.
    if not multiprocessing.active_children() and threading.active_count() == 1:
        gc.collect()  # a pool that an error still refers to has semaphores too
        os._exit(code)
    watchdog = threading.Timer(3, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()


def run(arguments: Sequence[str]) -> int:
    """Run one command; every failure becomes one line on stderr (with --json also a document on stdout).

    Returns:
        The exit code: 0 done, 1 violations found or a trial refused, 2 usage, 3 damaged input, 4 something missing or
        refused by the environment, 70 a bug of ours, 130 interrupted.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=PluginWarning)
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except PoisonsetsError as error:
        named = naming_cache(error)
        output.debug(*getattr(error, "__notes__", ()), *_traceback_of(error.__cause__))
        return _fail(named.message, error.exit_code, arguments, remedy=named.remedy)
    except (KeyboardInterrupt, typer.Abort):
        command = _continuation(arguments)
        remedy = f"To go on, type `{command}`" if command else ""
        return _fail("interrupted", INTERRUPTED, arguments, remedy=remedy)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`). Not 0: that would say that all constraints hold.
        _discard_output()
        return 4
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        named = naming_cache(MissingError(f"{place}{error.strerror or error}", PERMISSIONS))
        return _fail(named.message, 4, arguments, remedy=named.remedy)
    except MemoryError:
        return _fail("out of memory", 4, arguments, remedy=LESS_MEMORY)
    except Exception as error:  # noqa: BLE001  the edge: whatever is left is a bug of ours
        return _unexpected(error, arguments)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        command = typer.main.get_command(app)
        name_environment(command)
        code = command.main(list(arguments), prog_name="poisonsets", standalone_mode=False, obj=tuple(arguments))
    except SystemExit as error:
        if not error.code:  # completions were installed, shown or made
            return 0
        raise BrokenPipeError from error  # typer's answer to a reader that has gone, whatever was being done
    if code == INTERRUPTED:  # typer's answer to Ctrl-C; it says nothing
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _show_warning(
    others: Callable[..., None], message: Warning | str, category: type[Warning], *place: Any, **more: Any
) -> None:
    """One line on stderr for a warning of ours; any other is shown as Python shows it."""
    if not issubclass(category, PluginWarning):
        others(message, category, *place, **more)
        return
    with suppress(OSError):
        print(f"poisonsets: warning: {printable(' '.join(str(message).split()))}", file=sys.stderr)


def _discard_output() -> None:
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception, arguments: Sequence[str]) -> int:
    explain = getattr(error, "format_message", None)
    if explain is not None:  # typer's own usage errors
        message = explain().replace("Value error, ", "")  # which pydantic puts before what typer says
        if not message.strip():  # help was asked for by giving nothing, and is printed already
            return 2
        context = getattr(error, "ctx", None)
        remedy = f"See `{context.command_path} --help`" if context and "Did you mean" not in message else ""
        return _fail(message, 2, arguments, remedy=remedy)
    if "torch" in sys.modules:  # else it is no error of a device
        from poisonsets.victims.device import device_refusal

        if refusal := device_refusal(error, "the device", LESS_MEMORY):
            return _fail(refusal.message, refusal.exit_code, arguments, remedy=refusal.remedy)
    if os.environ.get("POISONSETS_DEBUG"):
        raise error
    remedy = "Repeat with `export POISONSETS_DEBUG=1` and report what it prints"
    return _fail(f"a bug of ours: {type(error).__name__}: {error}", BUG, arguments, remedy=remedy)


def _traceback_of(cause: BaseException | None) -> list[str]:
    """What an error was raised from, unless that is one of ours: a plugin's own, perhaps."""
    import traceback

    return [] if cause is None or isinstance(cause, PoisonsetsError) else traceback.format_exception(cause)


def _continuation(arguments: Sequence[str]) -> str:
    """The command that goes on where an interrupted one stopped; empty where none does."""
    commands = getattr(typer.main.get_command(app), "commands", {})
    options: list[Any] = next((commands[word].params for word in arguments if word in commands), [])
    resumes = any("--resume" in one.opts for one in options)
    kept = any("--output" in one.opts and (one.required or one.default) for one in options) or any(
        word.startswith("--output") or re.match("-o", word) for word in arguments
    )
    if not resumes or not kept:
        return ""
    return shlex.join(["poisonsets", *arguments, *(() if "--resume" in arguments else ("--resume",))])


def _fail(message: str, code: int, arguments: Sequence[str], *, remedy: str = "") -> int:
    line = printable(" ".join(message.split()))
    if remedy:  # may hold a command with long paths, which must be whole to be of use
        line = f"{line.removesuffix('.')}. {printable(' '.join(remedy.split()), most=10_000)}"
    with suppress(OSError):
        print(f"poisonsets: {line}", file=sys.stderr)
    if "--json" in arguments:
        with suppress(OSError):  # a full disk may be the very failure
            print(json.dumps({"schema_version": 1, "error": line, "exit_code": code}), flush=True)
    return code
