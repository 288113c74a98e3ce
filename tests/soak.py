"""`make soak`: the tests that kill craft, import, export and score, with many more kills and from another seed.

    python tests/soak.py [--kills N] [--seed S]

Every test module that has KILLS and SEED takes these; the seed is printed.
"""

# ruff: noqa: T201  a program for people

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).resolve().parent
MODULES: Final = ("manifests/sets/test_kills.py", "victims/scoring/test_killed_score.py")


class Harder:
    """A pytest plugin: more kills, and others."""

    def __init__(self, kills: int, seed: int) -> None:
        self._kills, self._seed = kills, seed

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for module in {item.getparent(pytest.Module) for item in items}:
            if module is not None and hasattr(module.obj, "KILLS"):
                module.obj.KILLS, module.obj.SEED = self._kills, self._seed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    sys.path.append(str(TESTS.parent))  # where tests/poisonsets is no package, the real one is found
    print(f"seed {seed}, {given.kills} kills each")
    modules = [str(TESTS / name) for name in MODULES]
    return pytest.main(
        [*modules, "-q", "-k", "killed", "--rootdir", str(TESTS.parent)], plugins=[Harder(given.kills, seed)]
    )


if __name__ == "__main__":
    sys.exit(main())
