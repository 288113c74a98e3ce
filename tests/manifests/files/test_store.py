"""The store: a file is written whole or not at all, only regular files are read, and no descriptor is left open."""

from __future__ import annotations

import os
import resource
import stat
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import store


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    for data in (b"", b"x", bytes(range(256)) * 100):
        store.write_file(path, data)
        assert store.read_file(path, len(data)) == data
    assert [one.name for one in path.parent.iterdir()] == ["b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    (path.parent / "real").write_bytes(b"data")
    path.symlink_to("real")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _large(path: Path) -> None:
    path.write_bytes(bytes(11))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [_folder, _pipe, _link, _loop, _large, _sparse])
def test_only_regular_files_of_the_stated_size_are_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    make(path)
    before = descriptors()
    with pytest.raises(DamagedError, match="file"):
        store.read_file(path, 10, remedy="Do this")
    assert descriptors() == before


@pytest.mark.parametrize("name", ["nowhere", "file/below", "n" * 300, "nul\0byte"])
def test_what_cannot_be_opened_is_missing_and_the_remedy_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MissingError) as caught:
        store.read_file(tmp_path / name, 10, remedy="Do this")
    assert caught.value.remedy == "Do this"


def test_a_device_is_not_read() -> None:
    with pytest.raises(DamagedError, match="not a regular file"):
        store.read_file(Path("/dev/zero"), 10)


def test_a_link_is_followed_where_a_user_named_it(tmp_path: Path) -> None:
    _link(tmp_path / "file")
    assert store.read_file(tmp_path / "file", 10, follow=True) == b"data"
    _loop(tmp_path / "loop")
    with pytest.raises(MissingError):
        store.read_file(tmp_path / "loop", 10, follow=True)


def test_the_disk_fills_up_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    store.write_file(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = descriptors()
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(MissingError, match="File too large"):
            store.write_file(path, bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert descriptors() == before
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError, OSError])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, raised: type[BaseException]) -> None:
    path = tmp_path / "file"
    store.write_file(path, b"old")
    with pytest.raises(MissingError if raised is OSError else raised):
        _replace_and_raise(path, raised)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def _replace_and_raise(path: Path, raised: type[BaseException]) -> None:
    with store.replacing(path) as file:
        file.write(b"new")
        raise raised


def test_many_writers_of_one_path_leave_one_of_their_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    threads = [threading.Thread(target=store.write_file, args=(path, bytes([i]) * 5000)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = path.read_bytes()
    assert (len(data), len(set(data))) == (5000, 1)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_link_at_the_path_is_replaced_not_followed(tmp_path: Path) -> None:
    _link(tmp_path / "file")
    store.write_file(tmp_path / "file", b"new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"data"


def test_leftovers_are_swept_and_nothing_else(tmp_path: Path) -> None:
    store.write_file(tmp_path / "deep" / "kept", b"")
    with pytest.MonkeyPatch.context() as patch:  # a process that was killed removes nothing
        patch.setattr(store.disk, "unlink", lambda _: None)
        with pytest.raises(KeyboardInterrupt), store.replacing(tmp_path / "deep" / "lost"):
            raise KeyboardInterrupt
    assert len(list((tmp_path / "deep").iterdir())) == 2
    store.sweep(tmp_path, "other*")
    assert len(list((tmp_path / "deep").iterdir())) == 2
    store.sweep(tmp_path)
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["kept"]


@pytest.mark.parametrize("name", ["", "a.lock"])
def test_one_process_at_a_time_holds_a_lock(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with store.locked(path), pytest.raises(MissingError, match="another process"), store.locked(path, patience=0.1):
        pytest.fail("two hold it")
    with store.locked(path):
        pass


def test_a_folder_moves_in_one_step_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = tmp_path / "source", tmp_path / "destination"
    store.write_file(source / "file", b"data")
    (destination / "full").mkdir(parents=True)
    with pytest.raises(MissingError, match="destination"):
        store.move_folder(source, destination)
    (destination / "full").rmdir()

    def full(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MissingError, match="Input/output error"):
            store.move_folder(source, destination)
    assert (source / "file").exists()
    assert not destination.exists()
    store.move_folder(source, destination)
    assert (destination / "file").read_bytes() == b"data"


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store.refuse_unwritable(tmp_path / "new" / "deeper")
    with pytest.raises(MissingError, match="a file stands where"):
        store.refuse_unwritable(tmp_path / "file" / "new")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_memory_is_taken_for_the_file_and_not_for_the_limit(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    tracemalloc.start()
    assert store.read_file(tmp_path / "small", 1 << 30) == b"small"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_lock_on_a_folder_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    """Another process may have removed it since: a file in its place would be left behind."""
    with pytest.raises(MissingError), store.locked(tmp_path / "out.partial"):
        pytest.fail("it is held")
    assert not list(tmp_path.iterdir())
