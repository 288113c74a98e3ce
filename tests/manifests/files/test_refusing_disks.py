"""F5: each errno at each call has its own words; what is harmless is lived with, and nothing is half written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from faulty import on

from poisonsets.manifests.errors import MissingError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.disk import Disk

NAMES = ["EAGAIN", "EACCES", "ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL", "ENOSPC", "EROFS", "EDQUOT", "ESTALE", "EIO"]
NO_FOLDER_SYNC = {"ENOSYS", "EOPNOTSUPP", "EINVAL"}
CALLS = ["mkdir", "create", "open", "write", "fsync of a file", "fsync of a folder", "rename"]
WORDS = {
    "ENOSPC": "free space there",
    "EDQUOT": "quota",
    "EROFS": "can be written",
    "ESTALE": "Mount",
    "EIO": "Check the",
}


def refusing(call: str, code: int) -> Disk:
    """A disk whose `call` always raises this errno."""

    def refuse(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    class Refusing(Disk):
        def fsync(self, descriptor: int) -> None:
            if call == ("fsync of a folder" if Path(f"/dev/fd/{descriptor}").is_dir() else "fsync of a file"):
                refuse()
            super().fsync(descriptor)

    disk = Refusing()
    if not call.startswith("fsync"):
        setattr(disk, call, refuse)
    return disk


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_f5_a_file_is_whole_or_absent_whatever_is_refused(tmp_path: Path, call: str, name: str) -> None:
    code = getattr(errno, name)
    path = tmp_path / "new" / "file"
    with on(refusing(call, code)):
        if call == "fsync of a folder" and name in NO_FOLDER_SYNC:
            store.write_file(path, b"data")
        else:
            with pytest.raises(MissingError, match=os.strerror(code)) as refused:
                store.write_file(path, b"data")
            assert WORDS.get(name, store.PERMISSIONS) in str(refused.value)
    assert [one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()] in ([], [b"data"])
    assert not list(tmp_path.rglob(f"*{store.TEMPORARY}"))


@pytest.mark.parametrize("name", [*NAMES, "EBADF"])
def test_f5_another_writer_is_named_only_where_there_is_one(tmp_path: Path, name: str) -> None:
    code = getattr(errno, name)
    with on(refusing("lock", code)), pytest.raises(MissingError) as refused, store.locked(tmp_path):
        pytest.fail("nobody holds this lock")
    text = str(refused.value)
    if name in {"EAGAIN", "EACCES"}:
        assert "another process is writing here" in text
    else:
        assert "another process" not in text
        assert os.strerror(code) in text
        assert ("has no locks" in text) == (name in {"ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL", "EBADF"})
