"""The corpus under an audit hook: what the interpreter did while reading it, as JSON. A program, not a test.

    python tests/hostile/audited.py SCRATCH

Each way first reads its honest file, which imports whatever it needs. The ways that need torch come last.
"""

# ruff: noqa: T201  a program

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from hostile import judging  # noqa: E402

from poisonsets.manifests.spelling import printable  # noqa: E402

RUNS: Final = ("exec", "compile", "ctypes.", "subprocess.", "socket.", "pickle.", "marshal.", "import", "pty.", "code.")
SYSTEM: Final = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill")
CHANGES: Final = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
BOTH_ENDS: Final = ("os.rename", "os.link", "os.symlink")
WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EXPECTED: Final = {
    (way, name): end
    for way, ends in json.loads((HERE / "expected.json").read_text()).items()
    for end, names in ends.items()
    for name in names
}
SECONDS: Final = 2.0


class Hook:
    """While it is on, it records each event that reading must not cause."""

    def __init__(self, scratch: Path) -> None:
        self.on = False
        self.place = ""
        self.events: list[str] = []
        self._scratch = str(scratch.resolve())

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and (event.startswith((*RUNS, *SYSTEM)) or self._changes(event, arguments)):
            self.events.append(f"{self.place}: {event} {str(arguments)[:120]}")

    def _changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether an event changes something outside the output."""
        if event == "open":
            return bool(arguments[2] & WRITES) and not self._inside(arguments[0])
        places = arguments[: 2 if event in BOTH_ENDS else 1]
        return event in CHANGES and not all(self._inside(one) for one in places)

    def _inside(self, path: object) -> bool:
        return isinstance(path, int) or os.path.realpath(os.fspath(path)).startswith(self._scratch + os.sep)  # type: ignore[call-overload]


def offer_all(ways: dict[str, tuple[str, str, judging.Offer]], scratch: Path, hook: Hook) -> tuple[int, list[str]]:
    """Offer everything; return how many files that were, and which ended unexpectedly or took too long."""

    def once(offer: Callable[[Path, Path], judging.Verdict], path: Path) -> judging.Verdict:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            return offer(path, Path(folder))

    for _, honest, offer in ways.values():
        if honest:
            once(offer, judging.HONEST / honest)
    printable("\x1b")  # loads a codec
    wrong, count = [], 0
    for way, (folder, _, offer) in ways.items():
        # The first refusal may load the code that words it.
        once(offer, next(judging.offered(folder)))
        for path in judging.offered(folder):
            name = path.stem if path.is_file() else path.name
            hook.place = f"{way}: {name}"
            began, hook.on = time.process_time(), True
            verdict = once(offer, path)
            seconds, hook.on = time.process_time() - began, False
            count += 1
            if not verdict.is_the(EXPECTED[way, name]) or seconds > SECONDS:
                wrong.append(f"{hook.place}: {verdict}, {seconds:.1f} s")
    return count, wrong


def main() -> None:
    scratch = Path(sys.argv[1])
    hook = Hook(scratch)
    sys.addaudithook(hook)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count, wrong = offer_all(judging.WAYS, scratch, hook)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) << 10
    torch = "torch" in sys.modules
    import typer.main
    from hostile import judging_victims

    # Typer compiles the annotations of our own commands whenever a command line is built.
    typer.main.get_command = functools.cache(typer.main.get_command)
    more, also = offer_all(judging_victims.WAYS, scratch, hook)
    print(
        json.dumps(
            {
                "offered": count + more,
                "wrong": wrong + also,
                "events": hook.events,
                "torch": torch,
                "grown": grown,
            }
        )
    )


if __name__ == "__main__":
    main()
