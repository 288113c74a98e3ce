"""Pictures that decoders mistake for others, or that claim more than they hold; each is one file of the corpus."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable

from golden.making import cross, noise

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDE = 8
# Written once by other encoders, whose next releases may write other bytes.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
WEBP = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxO"
    "UlNSMj5aYVpQYEpRUk//wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EAB0QAQADAAEFAAAAAAAAAAAAAAECAxEh"
    "AAQSFDH/2gAIAQEAAD8Ae1TZZOEJdzZVYy2LF8qniIsVTgAxwEfunX//2Q=="
)
DEFLATED = base64.b64decode("eNpjYBgeAAAAyAAB")  # 200 zero bytes: eight scan lines, compressed
Chunk = tuple[bytes, bytes]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def stored(raw: bytes) -> bytes:
    """One stored deflate block in a zlib frame."""
    size = len(raw)
    return b"\x78\x01" + struct.pack("<BHH", 1, size, size ^ 0xFFFF) + raw + struct.pack(">I", zlib.adler32(raw))


def png(
    width: int = SIDE,
    height: int = SIDE,
    *,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    before: tuple[Chunk, ...] = (),
    after: tuple[Chunk, ...] = (),
    data: bytes | None = None,
) -> bytes:
    """A PNG with these header fields and scan lines of that size, unless `data` is given."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"".join(
        (
            SIGNATURE,
            chunk(b"IHDR", header),
            *(chunk(*one) for one in before),
            chunk(b"IDAT", stored(_lines(width, height, colour, depth)) if data is None else data),
            *(chunk(*one) for one in after),
            chunk(b"IEND", b""),
        )
    )


def _lines(width: int, height: int, colour: int, depth: int) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    size = -(-width * channels * depth // 8)
    return b"".join(b"\0" + noise(f"line {row}", size).tobytes() for row in range(height))


def rows(first: bytes) -> bytes:
    """Scan lines of zeros, each after this filter byte."""
    return stored((first + bytes(3 * SIDE)) * SIDE)


def bmp() -> bytes:
    pixels = bytes(12 * SIDE)
    info = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + info + pixels


def tiff() -> bytes:
    """An uncompressed TIFF of grey rows."""
    tags = ((256, SIDE), (257, SIDE), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, SIDE), (279, SIDE * SIDE))
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 18) + bytes(10) + struct.pack("<H", len(tags)) + entries + bytes(4)


def _animated() -> bytes:
    control = (b"acTL", struct.pack(">II", 2, 0))
    frame = (b"fcTL", struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 1, 0, 0))
    return png(before=(control, frame), after=((b"fdAT", struct.pack(">I", 2) + rows(b"\0")),))


PICTURES: dict[str, Callable[[], bytes]] = {
    "no-pixels": lambda: png(0, 0, data=stored(b"")),
    "no-height": lambda: png(SIDE, 0, data=stored(b"")),
    "one-pixel": lambda: png(1, 1),
    "one-column-more": lambda: png(SIDE + 1, SIDE),
    "one-row-less": lambda: png(SIDE, SIDE - 1),
    "claims-65535-a-side": lambda: png(65535, 65535, data=rows(b"\0")),
    "claims-2-to-the-31": lambda: png(2**31, 1, data=rows(b"\0")),
    "claims-1024-a-side": lambda: png(1024, 1024, data=rows(b"\0")),
    "grey": lambda: png(colour=0),
    "grey-of-one-bit": lambda: png(colour=0, depth=1),
    "grey-with-alpha": lambda: png(colour=4),
    "palette": lambda: png(colour=3, before=((b"PLTE", noise("palette", 768).tobytes()),)),
    "palette-missing": lambda: png(colour=3),
    "alpha": lambda: png(colour=6),
    "sixteen-bits": lambda: png(depth=16),
    "sixteen-bits-of-grey": lambda: png(colour=0, depth=16),
    "interlaced": lambda: png(1, 1, interlace=1),
    "animated": _animated,
    "gamma": lambda: png(before=((b"gAMA", struct.pack(">I", 45455)),)),
    "colour-profile": lambda: png(before=((b"iCCP", b"p\0\0" + stored(bytes(200))),)),
    "transparent-colour": lambda: png(before=((b"tRNS", bytes(6)),)),
    "exif": lambda: png(before=((b"eXIf", b"II*\0" + bytes(20)),)),
    "text": lambda: png(before=((b"tEXt", b"Comment\0hidden"),)),
    "compressed-pixels": lambda: png(data=DEFLATED),
    "filtered-rows": lambda: png(data=rows(b"\1")),
    "unknown-filter": lambda: png(data=rows(b"\7")),
    "too-few-rows": lambda: png(data=stored(bytes(10))),
    "too-many-rows": lambda: png(data=stored(bytes(60))),
    "wrong-checksum-of-a-chunk": lambda: png().replace(b"IDAT", b"IDAU", 1),
    "wrong-adler": lambda: png(data=rows(b"\0")[:-1] + b"\xff"),
    "cut": lambda: png()[:-20],
    "bytes-behind-the-end": lambda: png() + b"hidden",
    "two-pictures": lambda: png() + png(),
    "no-end": lambda: png()[:-12],
    "empty": lambda: b"",
    "signature-alone": lambda: SIGNATURE,
    "bmp": bmp,
    "tiff": tiff,
    "unknown-critical-chunk": lambda: png(before=((b"CgBI", bytes(4)),)),
    "second-header": lambda: png(after=((b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)),)),
    "jpeg-without-its-end": lambda: JPEG[:-2],
    "jpeg-cut-within-its-scan": lambda: JPEG[: JPEG.index(b"\xff\xda") + 12] + JPEG[-2:],
    "jpeg-with-bytes-behind-its-end": lambda: JPEG + b"hidden",
    "gif": lambda: GIF,
    "webp": lambda: WEBP,
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 3\nshowpage\n",
}


def honest() -> bytes:
    from poisonsets.manifests.files.png import encode

    image = cross().image
    assert image is not None
    return encode(image)
