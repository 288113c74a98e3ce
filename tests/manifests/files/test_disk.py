"""The seam: the contract's code writes through `store.disk` alone, so that a test can make every call fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import CountingDisk, on

from poisonsets.manifests.files import store
from poisonsets.manifests.files.disk import Disk

ROOT = Path(__file__).resolve().parents[3]
WRITING = {"mkdir", "makedirs", "unlink", "remove", "rmdir", "rename", "replace", "rmtree", "fsync", "ftruncate"}
WRITING |= {"write_bytes", "write_text", "touch", "symlink_to", "hardlink_to", "copyfile", "copytree", "move"}
# The seam itself, a program for developers, and the removal of a folder that the writer made and left empty.
ALLOWED = {"files/disk.py", "files/store.py", "records/schema.py", "sets/writer.py: partial.rmdir"}


def writing(path: Path) -> Iterator[str]:
    """Calls by which a module would change a disk past the seam."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITING:
            called = ast.unparse(node.func)
            text = node.func.attr == "replace" and (len(node.args) == 2 or node.keywords)
            listed = node.func.attr == "remove" and not called.startswith("os.")
            if not (text or listed or called.startswith(("store.", "disk."))):
                yield called


def test_nothing_else_changes_a_disk() -> None:
    folder = ROOT / "manifests"
    found = {
        f"{path.relative_to(folder)}: {called}"
        for path in folder.rglob("*.py")
        if path.relative_to(folder).as_posix() not in ALLOWED
        for called in writing(path)
    }
    assert found <= ALLOWED


def test_a_file_takes_these_calls_and_no_other(tmp_path: Path) -> None:
    class Named(CountingDisk):
        names: list[str] = []  # noqa: RUF012

        def __getattribute__(self, name: str) -> object:
            if name in vars(Disk):
                Named.names.append(name)
            return super().__getattribute__(name)

    with on(Named()):
        store.write_file(tmp_path / "new" / "file", b"data")
    assert Named.names == ["mkdir", "create", "open", "write", "fsync", "rename", "open", "fsync"]


@pytest.mark.parametrize("size", [0, 1, 8192, 8193, 100_000])
def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path: Path, size: int) -> None:
    class Slow(Disk):
        def write(self, descriptor: int, data: bytes) -> int:
            return super().write(descriptor, memoryview(data)[:1000])

    whole = bytes(range(256)) * (size // 256 + 1)
    with on(Slow()):
        store.write_file(tmp_path / "file", whole[:size])
    assert (tmp_path / "file").read_bytes() == whole[:size]
