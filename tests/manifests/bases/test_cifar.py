"""CIFAR in its published forms, as tiny files of the same structure."""

from __future__ import annotations

import pickle  # writes fixtures; the project itself never imports it
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from poisonsets.manifests.bases.build import build
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.kinds.cifar import CIFAR10_CLASSES, CIFAR100_CLASSES
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError

ROWS = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
Write = Callable[[np.ndarray, list[int]], bytes]


def short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def python_2_batch(rows: np.ndarray, labels: list[int], key: str) -> bytes:
    """Protocol 2 as Python 2 writes it: byte strings, GLOBAL by line, a dtype and an array completed by BUILD."""
    dtype = b"cnumpy\ndtype\nq\x07" + short("u1") + b"K\x00K\x01\x87q\x08Rq\x09"
    dtype += b"(K\x03" + short("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    raw = rows.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85" + short("b") + b"\x87Rq\x05"
    array += b"(K\x01" + b"M" + struct.pack("<H", len(rows)) + b"M\x00\x0c\x86" + dtype
    array += b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    numbers = b"]q\x0a(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"]q\x0b(" + b"".join(short(f"image_{i}.png") for i in range(len(rows))) + b"e"
    pairs = [(short("data"), array), (short(key), numbers), (short("filenames"), names)]
    return b"\x80\x02}q\x01(" + b"".join(k + v for k, v in pairs) + b"u."


def expected(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def cifar10(folder: Path, parts: dict[str, bytes]) -> Base:
    folder.mkdir(parents=True)
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    return build(parse_spec("cifar10", source=folder.parent))


def parts_of_cifar10(write: Write, suffix: str) -> dict[str, bytes]:
    names = [f"data_batch_{i}{suffix}" for i in range(1, 6)] + [f"test_batch{suffix}"]
    return {name: write(ROWS[2 * i : 2 * i + 2], LABELS[2 * i : 2 * i + 2]) for i, name in enumerate(names)}


def modern(rows: np.ndarray, labels: list[int]) -> bytes:
    return pickle.dumps({b"data": rows, b"labels": labels, b"filenames": ["x"] * len(rows)}, protocol=4)


def old(rows: np.ndarray, labels: list[int]) -> bytes:
    return python_2_batch(rows, labels, "labels")


def binary(rows: np.ndarray, labels: list[int]) -> bytes:
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, rows, strict=True))


def test_the_hand_written_fixture_is_what_the_standard_unpickler_reads() -> None:
    value = pickle.loads(old(ROWS[:2], LABELS[:2]), encoding="bytes")  # noqa: S301  our own bytes
    assert (value[b"data"] == ROWS[:2]).all()
    assert value[b"labels"] == LABELS[:2]


@pytest.mark.parametrize(
    ("folder", "write", "suffix"),
    [
        ("cifar-10-batches-py", old, ""),
        ("cifar-10-batches-py", modern, ""),
        ("cifar-10-batches-bin", binary, ".bin"),
    ],
)
def test_every_form_gives_the_same_images_in_original_order(
    tmp_path: Path, folder: str, write: Write, suffix: str
) -> None:
    base = cifar10(tmp_path / folder, parts_of_cifar10(write, suffix))
    assert (base.train.images == expected(ROWS[:10])).all()
    assert base.train.labels.tolist() == LABELS[:10]
    assert (base.test.images == expected(ROWS[10:])).all()
    assert base.classes == CIFAR10_CLASSES
    assert base.victim_classes == base.pretrain_classes == tuple(range(10))
    assert base.mirror
    assert build(parse_spec("cifar10", source=tmp_path / folder)).train.digest == base.train.digest


def test_cifar100_uses_fine_labels_in_both_forms(tmp_path: Path) -> None:
    fine = [99, 0, 50, 7]
    python, raw = tmp_path / "cifar-100-python", tmp_path / "cifar-100-binary"
    for folder in (python, raw):
        folder.mkdir()
    (python / "train").write_bytes(python_2_batch(ROWS[:4], fine, "fine_labels"))
    (python / "test").write_bytes(python_2_batch(ROWS[4:6], [1, 2], "fine_labels"))
    for name, rows, labels in (("train.bin", ROWS[:4], fine), ("test.bin", ROWS[4:6], [1, 2])):
        records = [bytes([19, label]) + row.tobytes() for label, row in zip(labels, rows, strict=True)]
        (raw / name).write_bytes(b"".join(records))
    bases = [build(parse_spec("cifar100", source=folder)) for folder in (python, raw)]
    assert bases[0].train.labels.tolist() == fine
    assert (bases[0].train.digest, bases[0].test.digest) == (bases[1].train.digest, bases[1].test.digest)


def test_class_names_are_complete_and_distinct() -> None:
    assert len(set(CIFAR10_CLASSES)) == 10
    assert len(set(CIFAR100_CLASSES)) == 100
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)


@pytest.mark.parametrize("cut", [1, 100, 3072, 6000])
def test_a_cut_part_is_damage_that_names_the_part(tmp_path: Path, cut: int) -> None:
    for write, suffix, folder in ((old, "", "cifar-10-batches-py"), (binary, ".bin", "cifar-10-batches-bin")):
        parts = parts_of_cifar10(write, suffix)
        parts["data_batch_3" + suffix] = parts["data_batch_3" + suffix][:-cut]
        with pytest.raises(DamagedError, match="data_batch_3"):
            cifar10(tmp_path / suffix.replace(".", "_") / folder, parts)


def test_labels_beyond_the_classes_are_damage(tmp_path: Path) -> None:
    parts = parts_of_cifar10(binary, ".bin")
    parts["test_batch.bin"] = binary(ROWS[:1], [10])
    with pytest.raises(DamagedError, match="classes are 0-9"):
        cifar10(tmp_path / "cifar-10-batches-bin", parts)


def test_a_missing_part_or_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="cifar-10-batches-py"):
        build(parse_spec("cifar10", source=tmp_path))
    parts = parts_of_cifar10(binary, ".bin")
    del parts["data_batch_2.bin"]
    with pytest.raises(MissingError, match=r"data_batch_2\.bin"):
        cifar10(tmp_path / "cifar-10-batches-bin", parts)
    with pytest.raises(UsageError, match="--from"):
        build(parse_spec("cifar10"))


def test_a_part_that_would_run_code_is_damage(tmp_path: Path) -> None:
    parts = parts_of_cifar10(old, "")
    parts["data_batch_1"] = b"\x80\x02cos\nsystem\n" + short("exit 1") + b"\x85R."
    with pytest.raises(DamagedError, match=r"os\.system is not allowed"):
        cifar10(tmp_path / "cifar-10-batches-py", parts)
