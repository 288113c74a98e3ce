"""Shards are the bytes of webdataset's writer, which webdataset reads; no other spelling is accepted."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import png
from poisonsets.manifests.sets import shard


def some(n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8), np.arange(n, dtype=np.int64) * 37


def test_the_bytes_are_pinned() -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    data = shard.encode(7, 1000, images, np.array([0, 12345], dtype=np.int64))
    digest = hashlib.sha256(data).hexdigest()
    assert digest == "10f9129e33024db861fade40659a04763ca080aa664a139543e51f3ad52aa5eb"


def test_the_bytes_are_those_of_webdatasets_writer() -> None:
    import webdataset

    images, labels = some(5)
    file = io.BytesIO()
    writer = webdataset.TarWriter(file, mtime=0, encoder=False)
    for slot, (image, label) in enumerate(zip(images, labels, strict=True)):
        writer.write({"__key__": f"00003-{slot:08d}", "cls": str(label).encode(), "png": png.encode(image)})
    writer.close()
    assert shard.encode(3, 0, images, labels) == file.getvalue()


# webdataset leaves closing the shard to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    import webdataset

    images, labels = some()
    path = tmp_path / "trial-00003-000.tar"
    path.write_bytes(shard.encode(3, 0, images, labels))
    data = webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8", pre=[], post=[])
    samples = list(data)
    assert [sample["__key__"] for sample in samples] == [f"00003-{slot:08d}" for slot in range(3)]
    for sample, image, label in zip(samples, images, labels, strict=True):
        assert np.array_equal(sample["png"], image)
        assert int(sample["cls"]) == label


@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_reading_gives_back_what_was_written(n: int) -> None:
    images, labels = some(n)
    samples = shard.decode(shard.encode(9, 100, images, labels), 4, 4, "it")
    assert np.array_equal(samples.images, images)
    assert np.array_equal(samples.labels, labels)
    assert samples.slots.tolist() == list(range(100, 100 + n))
    assert set(samples.trials.tolist()) <= {9}


def test_every_flipped_bit_of_a_shard_changes_what_is_read_or_is_refused() -> None:
    images, labels = some(2)
    data = shard.encode(3, 0, images, labels)
    whole = shard.decode(data, 4, 4, "it")
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        try:
            samples = shard.decode(bytes(flipped), 4, 4, "it")
        except DamagedError:
            continue
        # Only another digit in a label passes for a shard; everything else must have been refused.
        assert np.array_equal(samples.images, whole.images)
        assert not np.array_equal(samples.labels, whole.labels)


def test_cut_and_lengthened_shards_are_refused() -> None:
    data = shard.encode(3, 0, *some(4))
    for cut in range(0, len(data), 512):
        with pytest.raises(DamagedError):
            shard.decode(data[:cut], 4, 4, "it")
    for more in (b"\0", bytes(512), bytes(10240), data):
        with pytest.raises(DamagedError):
            shard.decode(data + more, 4, 4, "it")


def tar_of(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        for info, body in members:
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return file.getvalue()


def link(kind: bytes) -> bytes:
    info = tarfile.TarInfo("00000-00000000.cls")
    info.type, info.linkname = kind, "/etc/hostname"
    return tar_of((info, b""))


HOSTILE = {
    "other owner": tar_of((tarfile.TarInfo("00000-00000000.cls"), b"1")),
    "symbolic link": link(tarfile.SYMTYPE),
    "hard link": link(tarfile.LNKTYPE),
    "fifo": link(tarfile.FIFOTYPE),
    "path": tar_of((tarfile.TarInfo("../../00000-00000000.cls"), b"1")),
    "pickle": tar_of((tarfile.TarInfo("00000-00000000.pyd"), b"cos\nsystem\n")),
    "pax": tar_of((tarfile.TarInfo("0" * 200 + ".cls"), b"1"), kind=tarfile.PAX_FORMAT),
    "gzip": b"\x1f\x8b" + bytes(10238),
    "text": b"hello".ljust(10240, b"\0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(name: str) -> None:
    with pytest.raises(DamagedError, match="it: "):
        shard.decode(HOSTILE[name], 4, 4, "it")
