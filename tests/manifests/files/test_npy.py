"""An array's shape is refused where numpy could not make the array, though it be empty."""

from pathlib import Path

import numpy as np
import pytest

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import npy


def empty(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    return npy.MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize("shape", [f"0, {2**62}", f"0, {10**23}", f"0, {2**40}, {2**40}", "0, 1073741825"])
def test_an_empty_array_of_wide_axes_is_refused(tmp_path: Path, shape: str) -> None:
    for read in (lambda: npy.parse(empty(shape), "w"), lambda: npy.NpyRows(tmp_path / "w.npy", shape.count(",") + 1)):
        (tmp_path / "w.npy").write_bytes(empty(shape))
        with pytest.raises(
            DamagedError, match=r"w(\.npy)?: an array of shape \[0, .* at most 4294967296 bytes are read"
        ):
            read()


def test_an_empty_array_of_plain_axes_is_read() -> None:
    assert npy.parse(empty("0, 32, 32, 3"), "w").shape == (0, 32, 32, 3)
    assert npy.parse(npy.encode(np.zeros((0, 4), np.uint8)), "w").shape == (0, 4)
