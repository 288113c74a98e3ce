"""Bases in WebDataset shards: order, labels, and refusals of what standard readers silently accept."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, MissingError, PoisonsetsError, UsageError
from poisonsets.manifests.files.images import decode

DATA = os.environ.get("POISONSETS_DATA", "")


def made(folder: Path, **options: object) -> Base:
    return build(parse_spec(f"webdataset:{folder}", **options))  # type: ignore[arg-type]


def test_shards_and_samples_keep_their_order(
    tmp_path: Path, shard: Callable, picture: Callable, samples: Callable
) -> None:
    shard(tmp_path / "train-000001.tar", [("z.CLS", b"1\n"), ("z.PNG", picture(50)), ("z.json", b"passed over")])
    shard(tmp_path / "train-000000.tar", [("./d/a.b.jpg", b"passed over"), *samples(3)][1:])
    shard(tmp_path / "test-000000.tar", samples(2))
    (tmp_path / "classes.json").write_text(json.dumps(["no", "yes", "unused"]))
    base = made(tmp_path)
    assert base.train.labels.tolist() == [0, 1, 0, 1]
    for row, seed in enumerate([0, 1, 2, 50]):
        assert (base.train.images[row] == decode(picture(seed), "", None)).all()
    assert base.classes == ("no", "yes", "unused")
    assert base.mirror


def test_samples_without_an_image_are_passed_over(tmp_path: Path, shard: Callable, samples: Callable) -> None:
    shard(tmp_path / "a.tar", [("note.json", b"{}"), *samples(2), ("only.cls", b"1"), ("last.json", b"{}")])
    base = made(tmp_path, holdout="1/2")
    assert len(base.train.labels) + len(base.test.labels) == 2


def test_all_shards_are_training_where_no_prefix_says_otherwise(
    tmp_path: Path, shard: Callable, samples: Callable
) -> None:
    shard(tmp_path / "flowers-0.tar", samples(10))
    with pytest.raises(UsageError, match="holdout=1/20"):
        made(tmp_path)
    base = made(tmp_path, holdout="3/10")
    assert (len(base.train.labels), len(base.test.labels)) == (7, 3)
    assert base.classes == ("0", "1")


def test_test_shards_alone_or_none_at_all_are_missing(tmp_path: Path, shard: Callable, samples: Callable) -> None:
    with pytest.raises(MissingError, match="no training shards"):
        made(tmp_path, holdout="1/2")
    shard(tmp_path / "test-0.tar", samples(2))
    with pytest.raises(MissingError, match="no training shards"):
        made(tmp_path)


def test_labels_beyond_the_named_classes_are_damage(tmp_path: Path, shard: Callable, samples: Callable) -> None:
    shard(tmp_path / "a.tar", samples(6, classes=3))
    (tmp_path / "classes.json").write_text('["a", "b"]')
    with pytest.raises(DamagedError, match="0-1"):
        made(tmp_path, holdout="1/6")
    for text in ('{"a": 1}', "[1, 2]", "[", "[" * 100_000):
        (tmp_path / "classes.json").write_text(text)
        with pytest.raises(DamagedError, match=r"classes\.json"):
            made(tmp_path, holdout="1/6")


def header(name: str, **fields: object) -> bytes:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def with_size(block: bytes, field: bytes) -> bytes:
    """The header with another size field and a matching checksum."""
    block = block[:124] + field + block[136:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


END = bytes(1024)


@pytest.fixture
def good(tmp_path: Path, shard: Callable, samples: Callable) -> bytes:
    """Two samples: four members, without the closing zero blocks."""
    shard(tmp_path / "good.tar", samples(2))
    data = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "good.tar").unlink()
    return data.rstrip(b"\0").ljust(-(-len(data.rstrip(b"\0")) // 512) * 512, b"\0")


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "symlink": lambda good: good + header("x.png", type=tarfile.SYMTYPE, linkname="/etc/passwd") + END,
    "hard link": lambda good: good + header("x.png", type=tarfile.LNKTYPE, linkname="0000.png") + END,
    "device": lambda good: good + header("x.png", type=tarfile.CHRTYPE) + END,
    "fifo": lambda good: good + header("x.png", type=tarfile.FIFOTYPE) + END,
    "sparse": lambda good: good + header("x.png", type=tarfile.GNUTYPE_SPARSE) + END,
    "member too large": lambda good: good + header("x.png", size=(8 << 20) + 1) + bytes((8 << 20) + 1024) + END,
    "negative size": lambda good: good + with_size(header("x.png"), b"\xff" * 12) + END,
    "size past the end": lambda good: good + header("x.png", size=1 << 20) + END,
    "cut": lambda good: good[:-600],
    "no end blocks": lambda good: good,
    "garbage after the end": lambda good: good + END + b"x" * 512,
    "two archives": lambda good: good + END + good + END,
    "bad checksum": lambda good: good[:1024] + b"\1" + good[1025:] + END,
    "sample twice": lambda good: good + good + END,
    "sample apart": lambda good: good + header("0000.json") + END,
    "no label": lambda good: good + good[:1024].replace(b"0000.png", b"0009.png", 1) + END,
    "gzip": lambda good: __import__("gzip").compress(good + END),
    "text": lambda _good: b"not an archive",
    "empty": lambda _good: b"",
    "pax header about itself": lambda good: good + with_size(header("x", type=b"x"), b"\xff" * 11 + b"\0") + END,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_archives_are_refused_by_name(tmp_path: Path, good: bytes, name: str) -> None:
    (tmp_path / "a.tar").write_bytes(HOSTILE[name](good))
    with pytest.raises(DamagedError, match=r"a\.tar"):
        made(tmp_path, holdout="1/2")


def test_the_untouched_archive_is_read(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(good + END)
    assert len(made(tmp_path, holdout="1/2").train.labels) == 1


@pytest.mark.parametrize("label", [b"", b"one", b"-1", b"1.0", b"\xd9\xa1", b"1 2", b"9999999999", b"100000"])
def test_labels_are_plain_integers(
    tmp_path: Path, shard: Callable, samples: Callable, picture: Callable, label: bytes
) -> None:
    shard(tmp_path / "a.tar", [*samples(2), ("x.png", picture(1)), ("x.cls", label)])
    with pytest.raises(DamagedError, match="'x'"):
        made(tmp_path, holdout="1/2")


def test_flipped_bits_are_refused_or_harmless(tmp_path: Path, good: bytes) -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        data = bytearray(good + END)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (tmp_path / "a.tar").write_bytes(data)
        try:
            outcomes.add(len(made(tmp_path, holdout="1/2").train.labels))
        except PoisonsetsError as error:
            outcomes.add(type(error).__name__)
    # A flip may change a pixel or a label; it never loses a sample or ends in another error.
    assert outcomes <= {1, "DamagedError", "UsageError"}
    assert "DamagedError" in outcomes


@pytest.mark.skipif(not DATA, reason="POISONSETS_DATA does not name a folder with real images")
def test_jpeg_shards_of_real_images(tmp_path: Path, shard: Callable) -> None:
    pack = np.load(Path(DATA) / "flowers128.npz")
    start = pack["header"].tobytes()
    bodies, offsets, labels = pack["train_bodies"], pack["train_offsets"], pack["train_labels"]
    chosen = range(0, len(labels), 100)
    members = []
    for i in chosen:
        members.append((f"{i}.jpg", start + bodies[offsets[i] : offsets[i + 1]].tobytes()))
        members.append((f"{i}.cls", str(labels[i]).encode()))
    shard(tmp_path / "train-0.tar", members)
    base = made(tmp_path, holdout="1/20")
    assert base.train.side == (128, 128)
    assert sorted([*base.train.labels, *base.test.labels]) == sorted(labels[i] for i in chosen)
    # Photographs have neighbouring pixels alike; noise or shuffled bytes do not.
    assert np.abs(np.diff(base.train.images.astype(int), axis=2)).mean() < 20
