"""A foreign PNG taken apart: every chunk, checksum and scan line is there, and there is one image.

Decoders fill missing scan lines with black and ignore what stands behind the end, so neither is left to them.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.png import SIGNATURE

CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
KNOWN: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
ANIMATION: Final = (b"acTL", b"fcTL", b"fdAT")
INTERLACED: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PIECE: Final = 1 << 20
EIGHT_BITS: Final = "Save it with 8 bits a channel, for instance by ImageMagick: magick IN -depth 8 OUT.png"


def png_end(data: bytes, name: str) -> int:
    """How many bytes a PNG has up to the end of its last chunk.

    Args:
        data: the file's bytes, which begin with the signature.
        name: its name, for errors.

    Raises DamagedError where a chunk is cut, misplaced or wrong by its checksum, the scan lines are not exactly those
    of the header, a channel has more than 8 bits, or the file is animated.
    """
    kinds: list[bytes] = []
    pixels: list[bytes] = []
    header, end = b"", 0
    for kind, body, end in _chunks(data, name):  # noqa: B007  the last one is what is asked for
        if kind in ANIMATION:
            raise DamagedError(f"{name}: an animated PNG; an image of one frame was expected", "Save one frame of it")
        if (kind == b"IHDR") == bool(kinds) or (kind == b"IDAT" and pixels and kinds[-1] != b"IDAT"):
            raise DamagedError(f"{name}: a PNG with a misplaced chunk {_shown(kind)}, or of several images")
        if not kind[0] & 32 and kind not in KNOWN:
            raise DamagedError(f"{name}: a PNG that needs its chunk {_shown(kind)}, which nobody here reads")
        if kind == b"IHDR":
            header = body
        if kind == b"IDAT":
            pixels.append(body)
        kinds.append(kind)
    wanted = _scan_bytes(header, name)
    if header[9] == 3 and (b"PLTE" not in kinds or kinds.index(b"PLTE") > kinds.index(b"IDAT")):
        raise DamagedError(f"{name}: a PNG of palette colours without its palette")
    _check_scan_lines(pixels, wanted, name)
    return end


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes, int]]:
    """Kind and body of each chunk, and where it ends; `IEND` is the last."""
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", data[place : place + 8].ljust(8, b"\0"))
        end = place + 12 + size
        if end > len(data):
            raise DamagedError(f"{name}: a PNG without its end: the file is cut")
        body = data[place + 8 : end - 4]
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise DamagedError(f"{name}: a PNG whose chunk {_shown(kind)} differs from its checksum")
        yield kind, body, end
        place = end


def _scan_bytes(header: bytes, name: str) -> int:
    """The bytes of all scan lines, with their filter bytes."""
    if len(header) != 13:
        raise DamagedError(f"{name}: a PNG with a header of {len(header)} bytes")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if colour not in CHANNELS or depth not in (1, 2, 4, 8, 16) or interlace > 1 or compression or filtering:
        raise DamagedError(f"{name}: a PNG with an impossible header")
    if depth > 8:
        raise DamagedError(f"{name}: {depth} bits a channel, 8 were expected", EIGHT_BITS)
    bits = CHANNELS[colour] * depth
    passes = INTERLACED if interlace else ((0, 0, 1, 1),)
    sides = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    return sum(down * (1 + -(-across * bits // 8)) for across, down in sides if across > 0 and down > 0)


def _check_scan_lines(parts: list[bytes], wanted: int, name: str) -> None:
    stream = zlib.decompressobj()
    found = 0
    try:
        for part in parts:
            left = part
            while left and found <= wanted and not stream.eof:
                found += len(stream.decompress(left, PIECE))
                left = stream.unconsumed_tail
            if left:
                break
        # What a full piece left inside the decompressor has no input left.
        while found <= wanted and not stream.eof and (more := stream.decompress(b"", PIECE)):
            found += len(more)
    except zlib.error as error:
        raise DamagedError(f"{name}: a PNG whose pixels cannot be unpacked ({error})") from error
    if found != wanted or not stream.eof or stream.unused_data or left:
        shown = f"more than {wanted}" if found >= wanted else str(found)
        raise DamagedError(f"{name}: a PNG with {shown} bytes of pixels, its header tells of {wanted}")


def _shown(kind: bytes) -> str:
    return ascii(kind)[2:-1]
