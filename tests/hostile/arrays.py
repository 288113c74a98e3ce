"""HDF5 and NumPy files that point elsewhere, claim more than they hold, or hold no array of numbers."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from golden.making import golden_base
from hostile.pickles import SYSTEM

IMAGES, LABELS = ("train/images", "poisons"), ("train/labels", "labels")
Fill = Callable[[h5py.File], None]
PAGE = 4  # images in each file


def hdf5(fill: Fill) -> bytes:
    """A file that is both a base and a trial, without images; `fill` adds those."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w", libver="latest") as file:
            for name in LABELS:
                file.create_dataset(name, data=np.arange(PAGE, dtype=np.int64) // 2)
            fill(file)
        return path.read_bytes()


def every(make: Callable[[h5py.File, str], object], names: tuple[str, ...] = IMAGES) -> Fill:
    """The same data under both names."""

    def fill(file: h5py.File) -> None:
        for name in names:
            make(file, name)

    return fill


def dataset(**options: Any) -> Fill:
    return every(lambda file, name: file.create_dataset(name, **options))


def honest_images(file: h5py.File) -> None:
    images = golden_base().train.images[:PAGE]
    for name in IMAGES:
        file.create_dataset(name, data=images)


def _linked(link: Callable[[], Any]) -> Fill:
    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(f"{name}-real", data=np.zeros((PAGE, 8, 8, 3), np.uint8))
        file[name] = link()

    return every(make)


def _soft(file: h5py.File, name: str) -> None:
    file.create_dataset(f"{name}-real", data=np.zeros((PAGE, 8, 8, 3), np.uint8))
    file[name] = h5py.SoftLink(f"/{name}-real")


def _group(file: h5py.File, name: str) -> None:
    folder, _, last = f"/{name}".rpartition("/")
    place = file.require_group(folder or "/")
    place[f"real-{last}"] = np.zeros((PAGE, 8, 8, 3), np.uint8)
    place[last] = h5py.ExternalLink("elsewhere.h5", f"/{name}")


def _virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((PAGE, 8, 8, 3), np.uint8)
    layout[:] = h5py.VirtualSource("elsewhere.h5", name, (PAGE, 8, 8, 3))
    file.create_virtual_dataset(name, layout)


def _external(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (PAGE, 8, 8, 3), np.uint8, external=[("/etc/passwd", 0, PAGE * 192)])


def _compound(file: h5py.File, name: str) -> None:
    file.create_dataset(name, data=np.zeros((PAGE, 8, 8, 3), [("a", "u1"), ("b", "u1")]))


def _references(file: h5py.File, name: str) -> None:
    data = np.full((PAGE, 1, 1, 3), None, dtype=h5py.ref_dtype)
    data[...] = file.ref
    file.create_dataset(name, data=data, dtype=h5py.ref_dtype)


def _attribute(value: Any) -> Fill:
    def fill(file: h5py.File) -> None:
        honest_images(file)
        file.attrs["classes"] = value

    return fill


SHAPE = (PAGE, 8, 8, 3)
ZEROS = np.zeros(SHAPE, np.uint8)
HDF5: dict[str, Fill] = {
    "external-link": every(_group),
    "soft-link": every(_soft),
    "virtual-dataset": every(_virtual),
    "external-storage": every(_external),
    "filter-lzf": dataset(data=ZEROS, compression="lzf", chunks=SHAPE),
    "filter-fletcher32": dataset(data=ZEROS, fletcher32=True, chunks=SHAPE),
    "filter-scale-offset": dataset(data=ZEROS, scaleoffset=3, chunks=SHAPE),
    "texts": dataset(data=np.full((PAGE, 1, 1, 3), b"a"), dtype=h5py.string_dtype()),
    "sequences": dataset(shape=SHAPE, dtype=h5py.vlen_dtype(np.uint8)),
    "opaque": dataset(data=np.zeros((PAGE, 2, 2, 3), "V8")),
    "compound": every(_compound),
    "references": every(_references),
    "floats": dataset(data=np.zeros((PAGE, 2, 2, 3))),
    "complex": dataset(data=np.zeros((PAGE, 2, 2, 3), complex)),
    "enumeration": dataset(shape=SHAPE, dtype=h5py.enum_dtype({"a": 1}, "u1")),
    "one-dimension": dataset(data=np.zeros(4, np.uint8)),
    "no-dimension": dataset(data=np.uint8(1)),
    "no-space": every(lambda file, name: file.create_dataset(name, data=h5py.Empty("u1"))),
    "a-group": every(lambda file, name: file.create_group(name)),
    "a-type": every(lambda file, name: file.__setitem__(name, np.dtype("u1"))),
    "claims-1-TiB-in-chunks": dataset(shape=(1 << 30, 32, 32, 1), dtype="u1", chunks=(1, 32, 32, 1)),
    "claims-1-TiB-in-one-piece": dataset(shape=(1 << 28, 32, 32, 4), dtype="u1"),
    "claims-2-GiB-in-one-piece": dataset(shape=(1 << 20, 32, 32, 2), dtype="u1"),
    "chunk-not-written": dataset(shape=(PAGE, 8, 8, 3), dtype="u1", chunks=(1, 8, 8, 3)),
    "chunk-of-1-GiB": dataset(shape=(1 << 10, 1024, 1024, 1), dtype="u1", chunks=(1 << 10, 1024, 1024, 1)),
    "images-of-one-channel": dataset(data=np.zeros((PAGE, 8, 8, 1), np.uint8)),
    "images-missing": lambda file: None,
}
ATTRIBUTES: dict[str, Fill] = {
    "classes-no-json": _attribute("[not json"),
    "classes-no-list": _attribute('{"a": 1}'),
    "classes-no-names": _attribute("[1, 2]"),
    "classes-deep": _attribute("[" * 5000 + "]" * 5000),
    "classes-a-number": _attribute(7),
    "classes-many-texts": _attribute(np.array([b"a", b"b"])),
}


def npy(descr: str, shape: str, body: bytes = bytes(PAGE * 192), *, version: int = 1) -> bytes:
    """A `.npy` file whose header holds any text."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    size = struct.pack("<H", len(header)) if version == 1 else struct.pack("<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + body


def npz(*members: tuple[str, bytes], kind: int = 0, flags: int = 0) -> bytes:
    """A zip file of stored members; `kind` and `flags` are what its directory claims of the first."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    data = memory.getvalue()
    at = data.index(b"PK\x01\x02")
    return data[: at + 8] + struct.pack("<HH", flags, kind) + data[at + 12 :]


GOOD = "(4, 8, 8, 3)"
NPY: dict[str, Callable[[], bytes]] = {
    "objects": lambda: npy("'|O'", "(1,)", SYSTEM),
    "fields": lambda: npy("[('a', '|u1'), ('b', '|O')]", GOOD),
    "code-in-the-header": lambda: npy("__import__('os').system('touch poisonsets-was-here')", GOOD),
    "code-in-the-shape": lambda: npy("'|u1'", "(4, 8, 8, 3 ** 9 ** 9 ** 9)"),
    "negative-shape": lambda: npy("'|u1'", "(-4, 8, 8, 3)"),
    "shape-of-2-to-the-62": lambda: npy("'|u1'", "(4611686018427387904, 8, 8, 3)"),
    "shape-that-overflows": lambda: npy("'|u1'", "(4294967296, 4294967296, 8, 3)"),
    "shape-of-many-dimensions": lambda: npy("'|u1'", "(" + "1, " * 40 + ")"),
    "fewer-bytes": lambda: npy("'|u1'", GOOD, bytes(100)),
    "more-bytes": lambda: npy("'|u1'", GOOD, bytes(1000)),
    "version-9": lambda: npy("'|u1'", GOOD, version=9),
    "header-of-4-GiB": lambda: b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b"{" * 100,
    "dates": lambda: npy("'<M8[s]'", GOOD),
    "texts": lambda: npy("'<U4'", GOOD),
    "not-a-number": lambda: npy("'<f4'", GOOD, struct.pack("<f", float("nan")) * PAGE * 192),
    "a-pickle": lambda: SYSTEM,
    "empty": lambda: b"",
}
NPZ: dict[str, Callable[[], bytes]] = {
    "member-of-objects": lambda: npz(("poisons.npy", npy("'|O'", "(1,)", SYSTEM))),
    "member-twice": lambda: npz(("poisons.npy", b"a"), ("poisonz.npy", b"b")).replace(b"poisonz", b"poisons"),
    "member-upwards": lambda: npz(("../../poisons.npy", npy("'|u1'", GOOD)), ("poisons.npy", b"")),
    "member-with-nul": lambda: npz(("poisons.npy", b"x"), ("a#b.npy", b"x")).replace(b"a#b", b"a\0b"),
    "claims-4-GiB": lambda: _lying(npz(("poisons.npy", npy("'|u1'", GOOD)))),
    "encrypted": lambda: npz(("poisons.npy", npy("'|u1'", GOOD)), flags=1),
    "bzip2": lambda: npz(("poisons.npy", bytes(100)), kind=zipfile.ZIP_BZIP2),
    "lzma": lambda: npz(("poisons.npy", bytes(100)), kind=zipfile.ZIP_LZMA),
    "no-directory": lambda: npz(("poisons.npy", npy("'|u1'", GOOD)))[:300] + b"poisons.npy",
    "text-called-poisons": lambda: npz(("poisons.npy", json.dumps([1, 2]).encode())),
}


def _lying(data: bytes) -> bytes:
    """The zip whose directory claims another size than the member has."""
    at = data.index(b"PK\x01\x02")
    return data[: at + 20] + b"\xff\xff\xff\xfe" * 2 + data[at + 28 :]
