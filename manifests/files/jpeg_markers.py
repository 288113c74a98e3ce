"""A JPEG taken apart: one frame, from its first marker to its last, with all its scans.

Decoders fill what a cut scan lacks with grey and say nothing. Whether a scan is whole shows in the pixels: bytes that
follow a whole one are never looked at, and bytes that follow a cut one are taken for its own.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pixels import Images

FIRST: Final = b"\xff\xd8\xff"
FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
ARITHMETIC: Final = frozenset(range(0xC9, 0xD0))
SCAN: Final = 0xDA
LAST: Final = 0xD9
MISSING: Final = 128  # what decoders show of a block that is not there
SMALL: Final = 3 * 64 * 64  # values of an image that is cheaply decoded twice
# Bytes that no scan ends in: decoded as if they were a scan's, they never give what decoders put in their place.
FILLER: Final = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(8)).replace(b"\xff", b"\x5a")
_NEXT: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # found fast, as it begins with a byte
_SEGMENT_END: Final = re.compile(rb"\xff[\xd0-\xd7]")


@dataclass(frozen=True)
class JpegMarkers:
    """What the markers of a JPEG tell.

    Attributes:
        end: how many bytes it has up to its last marker.
        scans: where the bytes of each scan begin and end.
        frame: the marker of its frame, which tells how it is coded.
        height, width: its size in pixels.
    """

    end: int
    scans: tuple[tuple[int, int], ...]
    frame: int
    height: int
    width: int

    @property
    def progressive(self) -> bool:
        """Whether later scans refine earlier ones, so that a cut one leaves no grey."""
        return self.frame in PROGRESSIVE


def read_markers(data: bytes, name: str) -> JpegMarkers:
    """The markers of a JPEG whose first bytes are `FIRST`; `name` is for errors.

    Raises DamagedError where it has no last marker, a segment is cut, or there is not exactly one frame with all its
    scans.
    """
    place, frame, height, width = 2, 0, 0, 0
    scans: list[tuple[int, int]] = []
    refined: dict[int, list[int]] = {}  # by component and coefficient: the bits that are still missing
    while True:
        if data[place : place + 1] != b"\xff" or data[place + 1 : place + 2] == b"\xff":
            place = _filled(data, place, name)
        marker, place = data[place + 1], place + 2
        if marker == LAST:
            break
        size = int.from_bytes(data[place : place + 2])
        body, end = data[place + 2 : place + size], place + size
        if size < 2 or end > len(data) or 0xD0 <= marker <= 0xD8:
            raise DamagedError(f"{name}: a JPEG with a segment that is cut or misplaced at byte {place}")
        place = end
        if marker in FRAMES:
            if frame or len(body) < 6 or len(body) != 6 + 3 * body[5]:
                raise DamagedError(f"{name}: a JPEG of several frames, or with a broken one")
            frame, refined = marker, {one: [13] * 64 for one in body[6::3]}
            height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
        if marker == SCAN:
            _note_scan(body, frame in PROGRESSIVE, refined, name)
            found = _NEXT.search(data, place)
            if found is None:
                break
            end = found.start()
            while data[end - 1] == 0xFF and end > place:  # a marker may be filled up
                end -= 1
            scans.append((place, end))
            place = end
    if marker != LAST:
        raise DamagedError(f"{name}: a JPEG without its last marker: the file is cut")
    if not scans or any(map(any, refined.values())):
        raise DamagedError(f"{name}: a JPEG that lacks scans of its image: the file is cut")
    return JpegMarkers(place, tuple(scans), frame, height, width)


def _filled(data: bytes, place: int, name: str) -> int:
    """Where the marker at a place begins, whose first byte may be repeated."""
    last = re.compile(rb"\xff+(?=\xff[^\xff])").match(data, place)
    if last is None:
        what = "without its last marker: the file is cut" if place >= len(data) - 1 else f"broken at byte {place}"
        raise DamagedError(f"{name}: a JPEG {what}")
    return last.end()


def _note_scan(body: bytes, progressive: bool, refined: dict[int, list[int]], name: str) -> None:
    count = body[0] if body else 0
    of = body[1 : 1 + 2 * count : 2]
    if len(body) != 4 + 2 * count or not refined.keys() >= set(of):
        raise DamagedError(f"{name}: a JPEG with a broken scan")
    first, last, low = (body[-3], min(body[-2], 63), body[-1] & 15) if progressive else (0, 63, 0)
    for component in of:
        refined[component][first : last + 1] = [low] * (last + 1 - first)


def is_whole(data: bytes, markers: JpegMarkers, pixels: Images, redecode: Callable[[bytes], Images]) -> bool:
    """Whether every scan holds all it should.

    Args:
        data: the file's bytes.
        markers: of these bytes.
        pixels: what they were decoded to, before any resizing.
        redecode: decodes other bytes likewise.
    """
    if markers.frame in ARITHMETIC:  # its decoder takes zeros for what is not there, rightly
        return True
    parts, place = [], 0
    for start, end in markers.scans:
        restarts = _SEGMENT_END.findall(data, start, end)
        # A cut between two segments shows only where the next one is there to be decoded.
        following = bytes([0xFF, 0xD0 + len(restarts) % 8])
        filled = _SEGMENT_END.sub(lambda found: FILLER + found[0], data[start:end])
        parts += [data[place:start], filled, FILLER, following, FILLER]
        place = end
    return np.array_equal(redecode(b"".join([*parts, data[place : markers.end]])), pixels)


def looks_cut(pixels: Images) -> bool:
    """Whether some block of pixels, uint8 [H, W, 3], could be one that a decoder had to make up.

    Small images always could. In a larger one, a scan that ends within its very last block leaves no grey, and is not
    told from a whole one here.
    """
    few = pixels[min(4, len(pixels) - 1) :: 8, min(4, pixels.shape[1] - 1) :: 8]
    return pixels.size <= SMALL or bool((few == MISSING).all(axis=2).any())
