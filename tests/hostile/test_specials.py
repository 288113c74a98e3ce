"""Links, pipes, sockets, devices and folders are refused, and neither followed nor waited for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from golden.making import GOLDEN
from hostile.judging import HONEST, Verdict, base, find, judged, said, write_honest

from poisonsets.manifests.bases.cache import add_base
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, PoisonsetsError
from poisonsets.manifests.files import store
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.import_set import import_set
from poisonsets.manifests.training_sets.open import open_training_set
from poisonsets.manifests.training_sets.targets_file import read_targets, source_targets
from poisonsets.manifests.trials.setup_file import read_setup
from poisonsets.manifests.verification.verify import verify
from poisonsets.victims.networks.weights import load_weights
from poisonsets.victims.results.folder import ResultsFolder

Put = Callable[[Path, Path], None]
FILES = ("manifest.json", "run.json", "README.md", "poisons/trial-00000-000.tar", "triggers/cross.png")


class WaitedError(BaseException):
    """Not an OSError, which readers would take for a refusal of the system."""


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """A reader that waits for a pipe fails the test."""

    def waited(*_: object) -> None:
        raise WaitedError

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def link(path: Path, real: Path) -> None:
    path.symlink_to(real)


def link_to_itself(path: Path, _real: Path) -> None:
    path.symlink_to(path.name)


def link_to_a_device(path: Path, _real: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path, _real: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path, _real: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def device(path: Path, _real: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only the system's user may make a device")


def folder(path: Path, _real: Path) -> None:
    path.mkdir()


PUTS = (link, link_to_itself, link_to_a_device, pipe, unix_socket, device, folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("put", PUTS)
def test_in_the_place_of_a_file_of_a_set(tmp_path: Path, put: Put, name: str) -> None:
    path = Path(shutil.copytree(GOLDEN, tmp_path / "set")) / name
    path.rename(tmp_path / "real")
    put(path, tmp_path / "real")
    report = verify(tmp_path / "set", find)
    assert report.worst == 3
    assert {finding.code for finding in report.findings} <= {"D101", "D102", "D103", "D104", "D105", "D106"}
    assert any(name in finding.place for finding in report.findings)


@pytest.mark.parametrize("put", PUTS)
def test_beside_the_files_of_a_set(tmp_path: Path, put: Put) -> None:
    path = Path(shutil.copytree(GOLDEN, tmp_path / "set")) / "poisons" / "another"
    put(path, GOLDEN / "README.md")
    report = verify(tmp_path / "set", find)
    assert [(finding.code, finding.place) for finding in report.findings] == [("D104", "poisons/another")]


def test_a_linked_folder_of_a_set(tmp_path: Path) -> None:
    made = Path(shutil.copytree(GOLDEN, tmp_path / "set"))
    (made / "poisons").rename(tmp_path / "poisons")
    (made / "poisons").symlink_to(tmp_path / "poisons")
    assert verify(made, find).worst == 3


def test_a_set_that_a_user_names_by_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(GOLDEN)
    assert verify(tmp_path / "link", find).clean


def test_hard_links_are_files(tmp_path: Path) -> None:
    made = Path(shutil.copytree(GOLDEN, tmp_path / "set"))
    os.link(made / "README.md", tmp_path / "second name")
    assert verify(made, find).clean


def test_a_file_that_becomes_a_pipe_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind and size are those of the opened file, so nothing can change between the check and the opening."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    opened = store.disk.open

    def swapped(name: Path | str, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return opened(name, flags)

    monkeypatch.setattr(store.disk, "open", swapped)
    with pytest.raises(DamagedError, match="not a regular file"):
        store.read_file(path, 10)


def imported(form: str, source: Path, scratch: Path) -> Verdict:
    declared = Claims(target=0, unit="0-255", labels="adversarial", adversarial_label=1)
    try:
        chosen = formats.find_format(form, source)
        done = import_set(scratch / "made", chosen, source, base(), declared, name="imported", number=0)
    except PoisonsetsError as error:
        return Verdict(error.exit_code, words=str(error))
    return Verdict(done.worst)


# Each reader of one file, given the folder in which `file` is no plain file.
READERS: dict[str, Callable[[Path], Verdict]] = {
    "a setup": lambda here: said(lambda: read_setup(here / "file")),
    "targets": lambda here: said(lambda: read_targets(here / "file")),
    "a training set": lambda here: said(lambda: open_training_set(here / "file", base(), source_targets([0], 1))),
    "an hdf5 base": lambda here: said(
        lambda: add_base(parse_spec(f"hdf5:{here / 'file'}", holdout="1/2"), cache=here / "c")
    ),
    "weights": lambda here: said(lambda: load_weights(here / "file")),
    "poisons of hdf5": lambda here: imported("hdf5", here / "file", here),
    "a packed file": lambda here: imported("packed", here / "file", here),
    "a perturbation": lambda here: imported("perturbation", here / "file", here),
    "a shard of poisons": lambda here: imported("webdataset", here / "file", here),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("put", [link_to_itself, link_to_a_device, pipe, unix_socket, device, folder])
def test_in_the_place_of_a_file_that_a_user_names(tmp_path: Path, put: Put, reader: str) -> None:
    put(tmp_path / "file", tmp_path)
    assert READERS[reader](tmp_path).code in (2, 3, 4)


@pytest.mark.parametrize("form", ["triple", "numpy", "hdf5", "webdataset", "folder"])
@pytest.mark.parametrize("put", PUTS)
def test_in_the_place_of_a_file_of_a_foreign_set(tmp_path: Path, put: Put, form: str) -> None:
    """Nothing in a stranger's folder is followed."""
    theirs = tmp_path / "theirs"
    write_honest(theirs, formats.formats()[form])
    for path in sorted(one for one in theirs.rglob("*") if one.is_file() and one.suffix != ".txt"):
        path.rename(tmp_path / "real")
        put(path, tmp_path / "real")
        assert imported(form, theirs, tmp_path).code in (2, 3, 4), path
        shutil.rmtree(tmp_path / "made", ignore_errors=True)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (tmp_path / "real").rename(path)


FOLDERS = ("train", "targets", "train/*", "targets/*")


@pytest.mark.parametrize("place", FOLDERS)
@pytest.mark.parametrize("put", [link, link_to_itself])
def test_a_link_in_the_place_of_a_folder_of_pictures(tmp_path: Path, put: Put, place: str) -> None:
    theirs = tmp_path / "theirs"
    write_honest(theirs, formats.formats()["folder"])
    (path, *_) = sorted(theirs.glob(place))
    path.rename(tmp_path / "real")
    put(path, tmp_path / "real")
    verdict = imported("folder", theirs, tmp_path)
    assert verdict.code == 3
    path.unlink()
    (tmp_path / "real").rename(path)
    assert imported("folder", theirs, tmp_path).code == 0


@pytest.mark.parametrize("form", ["auto", "triple"])
@pytest.mark.parametrize("put", [link, link_to_itself])
def test_a_link_in_the_place_of_a_numbered_folder(tmp_path: Path, put: Put, form: str) -> None:
    theirs = tmp_path / "theirs"
    write_honest(theirs / "0", formats.formats()["triple"])
    write_honest(tmp_path / "real", formats.formats()["triple"])
    put(theirs / "1", tmp_path / "real")
    with pytest.raises(DamagedError, match="1: a link; only folders are read"):
        formats.trial_places(formats.find_format(form, theirs), theirs, None)


def test_a_foreign_set_that_a_user_names_by_a_link_is_read(tmp_path: Path) -> None:
    write_honest(tmp_path / "real", formats.formats()["folder"])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert imported("folder", tmp_path / "link", tmp_path).code == 0


@pytest.mark.parametrize("put", PUTS)
def test_in_the_place_of_a_row(tmp_path: Path, put: Put) -> None:
    (tmp_path / "rows").mkdir()
    put(tmp_path / "rows" / f"{'a' * 64}.json", HONEST / "row.json")
    assert said(lambda: ResultsFolder(tmp_path).row("a" * 64)).code in (3, 4)


@pytest.mark.parametrize(
    "name", ["set with spaces", "\u00e9", "e\u0301", "\u202egpj", "a\nb", "\x1b[31m", "-rf", "'; ls"]
)
def test_any_name_of_a_set_is_read_and_printed_harmlessly(tmp_path: Path, name: str) -> None:
    made = Path(shutil.copytree(GOLDEN, tmp_path / name))
    assert verify(made, find).clean
    (made / f"{name}.stranger").write_bytes(b"")
    (finding,) = judged(verify(made, find)).words.split("\n")
    assert finding.isprintable()


def test_twins_in_case_and_form_are_strangers(tmp_path: Path) -> None:
    made = Path(shutil.copytree(GOLDEN, tmp_path / "set"))
    (made / "Manifest.json").write_bytes(b"")
    (made / "poisons" / "TRIAL-00000-000.tar").write_bytes(b"")
    assert [finding.code for finding in verify(made, find).findings] == ["D104", "D104"]
