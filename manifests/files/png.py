"""8-bit RGB PNG with stored deflate blocks: the same bytes from every library version, and never a bomb.

Compressed PNG bytes change with the zlib build, so a shard's hash would hold on one machine only. Stored blocks cost
about 5 % on photographs and encode an order of magnitude faster. Any PNG reader reads them.
"""

import struct
import zlib

import numpy as np

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pixels import Images

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STORED_BLOCK = 65535


def encode(image: Images) -> bytes:
    """The one PNG of an RGB image, uint8 [H, W, 3]."""
    height, width, _ = image.shape
    # Every scan line starts with filter type 0 (none).
    lines = np.zeros((height, 1 + width * 3), dtype=np.uint8)
    lines[:, 1:] = image.reshape(height, width * 3)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(lines.tobytes())) + _chunk(b"IEND", b"")


def encoded_size(height: int, width: int) -> int:
    """How many bytes `encode` makes of an image of this size."""
    raw = height * (1 + width * 3)
    return len(SIGNATURE) + 25 + 12 + 12 + 2 + 5 * -(-raw // STORED_BLOCK) + raw + 4


def decode(data: bytes, height: int, width: int, where: str) -> Images:
    """The image, uint8 [H, W, 3], of a PNG; `where` names it in the error.

    Raises DamagedError where it is not, byte for byte, what `encode` writes of an image of this size.
    """
    if len(data) == encoded_size(height, width):
        start = len(SIGNATURE) + 25 + 8 + 2
        raw = height * (1 + width * 3)
        body = data[start : -(4 + 4 + 12)]
        pieces = [body[at + 5 : at + 5 + STORED_BLOCK] for at in range(0, len(body), STORED_BLOCK + 5)]
        lines = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        if len(lines) == raw:
            image = lines.reshape(height, 1 + width * 3)[:, 1:].reshape(height, width, 3)
            if encode(image) == data:
                return image.copy()
    raise DamagedError(f"{where}: not a canonical 8-bit RGB PNG of {height}x{width} pixels")


def size_of(data: bytes, where: str) -> tuple[int, int]:
    """The height and width in a PNG's header.

    Raises DamagedError where there is no such header, or a side exceeds `limits.IMAGE_SIDE`.
    """
    if data[:16] == SIGNATURE + b"\x00\x00\x00\rIHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        if 1 <= width <= limits.IMAGE_SIDE and 1 <= height <= limits.IMAGE_SIDE:
            return height, width
    raise DamagedError(f"{where}: not a PNG of at most {limits.IMAGE_SIDE}x{limits.IMAGE_SIDE} pixels")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _stored(raw: bytes) -> bytes:
    blocks = []
    for start in range(0, len(raw), STORED_BLOCK):
        piece = raw[start : start + STORED_BLOCK]
        last = start + STORED_BLOCK >= len(raw)
        blocks.append(struct.pack("<BHH", last, len(piece), len(piece) ^ 0xFFFF) + piece)
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(raw))
