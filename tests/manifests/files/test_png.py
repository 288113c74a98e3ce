"""PNG with stored blocks: read by others, one spelling, any changed byte refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import png


@pytest.mark.parametrize(("height", "width"), [(1, 1), (32, 32), (7, 13), (150, 200)])
def test_pillow_reads_what_we_write(height: int, width: int) -> None:
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = png.encode(image)
    assert len(data) == png.encoded_size(height, width)
    assert png.size_of(data, "it") == (height, width)
    with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
        assert opened.mode == "RGB"
        assert np.array_equal(np.asarray(opened), image)
    assert np.array_equal(png.decode(data, height, width, "it"), image)


def test_every_single_bit_flip_outside_the_pixels_is_refused() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    data = png.encode(image)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        # A flipped pixel breaks the checksums, so it is refused as well.
        with pytest.raises(DamagedError, match="it: "):
            png.decode(bytes(flipped), 3, 4, "it")


def test_a_compressed_png_is_not_canonical() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="PNG")
    with pytest.raises(DamagedError, match="8x8"):
        png.decode(buffer.getvalue(), 8, 8, "it")


@pytest.mark.parametrize("data", [b"", b"GIF89a", png.SIGNATURE, png.SIGNATURE + b"\0\0\0\rIHDR" + b"\xff" * 8])
def test_a_header_that_claims_too_much_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedError, match="not a PNG"):
        png.size_of(data, "it")
