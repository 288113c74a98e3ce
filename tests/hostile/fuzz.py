"""`make fuzz`: mutants of a manifest and a shard; each is refused by an error of ours, or accepted and written again.

    python tests/hostile/fuzz.py [--manifests N] [--shards N] [--seed S] [--keep FOLDER] [--json]

No torch; it writes only to standard output and the folders it is given. It prints the seed; equal seeds give equal
mutants. A mutant that ends otherwise, takes over two seconds of CPU or is not written again to the same bytes is kept
as a file for the corpus, and the exit code is 1.
"""

# ruff: noqa: T201  a program for people

from __future__ import annotations

import argparse
import json
import random
import resource
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

from golden.making import GOLDEN  # noqa: E402
from hostile import judging, mutants  # noqa: E402

from poisonsets.manifests.errors import PoisonsetsError  # noqa: E402
from poisonsets.manifests.files import canonical_json  # noqa: E402
from poisonsets.manifests.sets import shard  # noqa: E402
from poisonsets.manifests.sets.reader import read_manifest  # noqa: E402
from poisonsets.manifests.verification.verify import verify  # noqa: E402

SECONDS: Final = 2.0
SHARD: Final = "poisons/trial-00000-000.tar"
NAMES: Final = (SHARD, "poisons/trial-00001-000.tar")


class HangsError(BaseException):
    """A mutant takes too long to wait for."""


def _hangs(*_: object) -> None:
    raise HangsError


@dataclass
class Tally:
    """What became of the mutants: how many ended how, which ended otherwise, and the slowest."""

    ends: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, bytes]] = field(default_factory=list)
    slowest: float = 0.0

    def judge(self, what: str, mutant: bytes, act: Callable[[bytes], str]) -> None:
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 3 * SECONDS)
        try:
            end = act(mutant)
        except (Exception, HangsError):
            end = "escaped"
            self.bad.append((traceback.format_exc()[-2000:], mutant))
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - began
        self.slowest = max(self.slowest, seconds)
        if seconds > SECONDS:
            self.bad.append((f"{what}: {seconds:.1f} s", mutant))
        if end.startswith("!"):
            self.bad.append((end, mutant))
        self.ends[f"{what}: {end}"] += 1


class Manifests:
    """A golden set whose manifest is replaced again and again."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(shutil.copytree(GOLDEN, folder / "manifests"))
        self.good = (GOLDEN / "manifest.json").read_bytes()

    def end(self, mutant: bytes) -> str:
        """Refused; or read, written again to the same bytes, and judged."""
        (self._folder / "manifest.json").write_bytes(mutant)
        try:
            manifest = read_manifest(self._folder)
        except PoisonsetsError as error:
            return f"refused {error.exit_code}"
        if canonical_json.checksummed(manifest.model_dump(mode="json")) != mutant:
            return "! accepted, and written again to other bytes"
        return self._judged(mutant != self.good)

    def _judged(self, changed: bool) -> str:
        try:
            report = verify(self._folder, judging.find)
        except PoisonsetsError as error:
            return f"accepted, then {error.exit_code}"
        if not all(finding.line().isprintable() for finding in report.findings):
            return "! a finding that a terminal would obey"
        return f"accepted, verified with {report.worst}" + ("" if changed else ", unchanged")


class Shards:
    """Golden shards; a mutant that is still a shard goes into a set, with its hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "shards"
        self.good = tuple((GOLDEN / name).read_bytes() for name in NAMES)

    def end(self, mutant: bytes) -> str:
        try:
            samples = shard.decode(mutant, 8, 8, "a mutant")
        except PoisonsetsError as error:
            return f"refused {error.exit_code}"
        if _written(samples) != mutant:
            return "! accepted, and written again to other bytes"
        shutil.rmtree(self._folder, ignore_errors=True)
        report = verify(judging.rehashed(self._folder, SHARD, mutant), judging.find)
        if mutant != self.good[0] and report.clean:
            return "! another shard, and the set is clean"
        return f"accepted, verified with {report.worst}"


def _written(samples: shard.Samples) -> bytes:
    """The shard of any samples in any order: the members of shards of one sample each, and the end of a tar."""
    size = shard.encoded_size(1, 8, 8)
    members = 0 if not len(samples.labels) else 3 * shard.BLOCK + 512 * -(-shard.png.encoded_size(8, 8) // 512)
    assert members <= size
    rows = zip(samples.trials, samples.slots, samples.images, samples.labels, strict=True)
    body = b"".join(
        shard.encode(int(trial), int(slot), image[None], label[None])[:members] for trial, slot, image, label in rows
    )
    body += bytes(2 * shard.BLOCK)
    return body + bytes(-len(body) % shard.RECORD)


def run(count: dict[str, int], seed: int, scratch: Path) -> Tally:
    """Try so many mutants of each kind; mutant n of a seed is the same whatever the counts."""
    tally = Tally()
    signal.signal(signal.SIGPROF, _hangs)
    manifests, shards = Manifests(scratch), Shards(scratch)
    for number in range(count["manifests"]):
        draw = random.Random(f"manifest {seed} {number}")
        tally.judge("manifest", mutants.manifest(manifests.good, draw), manifests.end)
    for number in range(count["shards"]):
        draw = random.Random(f"shard {seed} {number}")
        tally.judge("shard", mutants.shard(shards.good, draw), shards.end)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-finds"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", file=sys.stderr)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as scratch:
        tally = run({"manifests": given.manifests, "shards": given.shards}, seed, Path(scratch))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) >> 10
    for number, (_, mutant) in enumerate(tally.bad):
        given.keep.mkdir(exist_ok=True)
        (given.keep / f"{seed}-{number}").write_bytes(mutant)
    told = {
        "seed": seed,
        "ends": dict(sorted(tally.ends.items())),
        "bad": [words for words, _ in tally.bad[:20]],
        "slowest": tally.slowest,
        "grown_mebibytes": grown,
        "torch": "torch" in sys.modules,
    }
    print(json.dumps(told, indent=None if given.json else 1))
    return 1 if tally.bad or grown >= 128 else 0


if __name__ == "__main__":
    sys.exit(main())
