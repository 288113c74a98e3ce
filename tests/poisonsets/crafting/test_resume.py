"""Resuming: the same command gives the same set however many workers, kills and interruptions lie on the way."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poisonsets.cli.main import run
from poisonsets.manifests.sets.reader import open_set

TRIALS = 8


@pytest.fixture(scope="module")
def craft(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """The command: two tiny networks that the trials draw from, so that neighbours fall into several blocks."""
    folder = tmp_path_factory.mktemp("networks")
    pool: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSETS_CACHE", str(cache))
        for seed in ("0", "1"):
            path = str(folder / f"{seed}.safetensors")
            train = ("train", "--base", "digits", "--net", "convnet", "--width", "0.25", "--epochs", "1")
            with contextlib.redirect_stdout(io.StringIO()):
                assert run([*train, "--seed", seed, "-o", path]) == 0
            pool += ["--surrogate-pool", path]
        trials = ("--trials", f"0-{TRIALS - 1}", "--poisons", "4", "--name", "set", "--json")
        yield ("craft", "bullseye-polytope", "--base", "digits", *trials, *pool)


def crafted(craft: tuple[str, ...], out: Path, *options: str) -> str:
    """The content digest of a set crafted in this process."""
    text, notes = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(notes):
        code = run([*craft, "-o", str(out), *options])
    assert (code, notes.getvalue()) == (0, "")
    digest = json.loads(text.getvalue())["content_digest"]
    assert digest == open_set(out).manifest.content_digest
    return str(digest)


SHORT = ("--set", "steps=6")
LONG = ("--set", "steps=200")


@pytest.fixture(scope="module")
def whole(craft: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the long set, made without interruption."""
    return crafted(craft, tmp_path_factory.mktemp("sets") / "set", *LONG)


def heed_interrupts() -> None:
    """Where tests run in the background of a script, SIGINT is ignored, and a child would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(craft: tuple[str, ...], out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The same command in a session of its own, killed whole at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "poisonsets", *craft, "-o", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)


def entries(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob("journal/*.json")))


def caught(process: subprocess.Popen[str], out: Path) -> bool:
    """Stop a command and its workers at the first finished trial; False where it was faster."""
    wait_until(lambda: entries(out) >= 1 or process.poll() is not None, "the first block")
    if process.poll() is not None:
        assert process.returncode == 0
        return False
    os.killpg(process.pid, signal.SIGSTOP)
    wait_until(lambda: state(process.pid) in "TZ", "the stop")
    return 0 < entries(out) < TRIALS


@contextlib.contextmanager
def halted(craft: tuple[str, ...], folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The same command, all its processes stopped where some trials are finished and others are not, and its set.

    On a busy machine it may be done before this process sees the first trial; then it is started anew, elsewhere.
    """
    for attempt in range(10):
        out = folder / str(attempt) / "set"
        with started(craft, out, *options) as process:
            if caught(process, out):
                yield process, out
                return
    pytest.fail("each time the set was done before the command could be stopped")


def test_the_same_command_gives_the_same_set(craft: tuple[str, ...], tmp_path: Path) -> None:
    digest = crafted(craft, tmp_path / "first", *SHORT)
    assert crafted(craft, tmp_path / "again", *SHORT) == digest
    assert crafted(craft, tmp_path / "two workers", *SHORT, "--workers", "2") == digest
    assert crafted(craft, tmp_path / "other seed", *SHORT, "--seed", "1") != digest


def test_a_kill_at_any_moment_leaves_a_set_that_can_be_resumed(
    craft: tuple[str, ...], whole: str, tmp_path: Path
) -> None:
    """Killed before anything is finished, then twice between blocks; the delays are drawn from a fixed seed."""
    out = tmp_path / "set"
    draw = random.Random(0)
    for options in ((), ("--resume",), ("--resume",)):
        before = entries(out)
        with started(craft, out, *LONG, *options) as process:
            if options:
                wait_until(lambda count=before: entries(out) > count, "a further trial")
            else:
                wait_until(out.with_name("set.partial").exists, "the unfinished set")
            time.sleep(draw.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
        assert not out.exists()
    assert 0 < entries(out) < TRIALS
    assert crafted(craft, out, *LONG, "--resume") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert {path.name for path in out.iterdir()} == {"README.md", "manifest.json", "poisons", "run.json"}
    assert crafted(craft, out, *LONG, "--resume") == whole  # finished already: nothing to do


def children(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, _, rest = stat.read_text().rpartition(") ")
            if int(rest.split()[1]) == parent:
                found.add(int(stat.parent.name))
    return found


def state(pid: int) -> str:
    """What a process does, in the kernel's letter: T stopped, Z dead, X gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "X"


def alive(pid: int) -> bool:
    return state(pid) not in "ZX"


def test_workers_die_with_their_parent_and_the_set_resumes(craft: tuple[str, ...], whole: str, tmp_path: Path) -> None:
    with halted(craft, tmp_path, *LONG, "--workers", "2") as (process, out):
        workers = children(process.pid)
        assert len(workers) >= 2
        process.send_signal(signal.SIGKILL)
        os.killpg(process.pid, signal.SIGCONT)
        process.wait(timeout=30)
        wait_until(lambda: not any(map(alive, workers)), "the workers' end", seconds=10)
    assert not out.exists()
    assert crafted(craft, out, *LONG, "--resume") == whole
    assert json.loads((out / "run.json").read_bytes())["trials_taken_over"] >= 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_says_one_line_and_the_set_resumes(
    craft: tuple[str, ...], whole: str, tmp_path: Path, workers: str
) -> None:
    with halted(craft, tmp_path, *LONG, "--workers", workers) as (process, out):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes in the foreground
        os.killpg(process.pid, signal.SIGCONT)
        text, notes = process.communicate(timeout=60)
    assert process.returncode == 130
    goes_on = shlex.join(["poisonsets", *craft, "-o", str(out), *LONG, "--workers", workers, "--resume"])
    assert notes == f"poisonsets: interrupted. To go on, type `{goes_on}`\n"
    assert json.loads(text)["exit_code"] == 130
    assert not out.exists()
    assert crafted(craft, out, *LONG, "--resume") == whole
    assert json.loads((out / "run.json").read_bytes())["trials_taken_over"] >= 1
