"""An image is decoded only if all of it is in the file; what stands behind it is refused, or counted in one's own."""

from __future__ import annotations

import io
import itertools
import shlex
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile.pictures import SIGNATURE, chunk, png, stored
from PIL import Image

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import images
from poisonsets.manifests.files.images import decode, decode_own, decode_with_alpha
from poisonsets.manifests.files.jpeg_markers import read_markers
from poisonsets.manifests.files.png_chunks import CHANNELS, png_end

Maker = Callable[[], bytes]


def photograph(side: int = 64) -> Image.Image:
    """Smooth colours and a little noise, as cameras see them."""
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.linspace(0, 200, side), np.linspace(0, 200, side))
    smooth = np.stack([across, down, 200 - across], axis=2) + rng.normal(0, 12, (side, side, 3))
    return Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8))


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    photograph().convert(mode).save(file, kind, **options)
    return file.getvalue()


def chunks(data: bytes) -> list[bytes]:
    """Each chunk of a PNG, whole."""
    found, place = [], len(SIGNATURE)
    while place < len(data):
        size = 12 + int.from_bytes(data[place : place + 4])
        found.append(data[place : place + size])
        place += size
    return found


def rows_of(count: int, *, side: int = 32) -> bytes:
    lines = (b"\0" + bytes(range(96))) * count
    return png(side, side, data=zlib.compress(lines))


ANIMATED = png(before=((b"acTL", struct.pack(">II", 2, 0)),))
JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "full colour": {"subsampling": 0},
    "optimised": {"optimize": True, "quality": 95},
    "grey": {"mode": "L"},
}


@pytest.mark.parametrize("count", [0, 1, 20, 31, 33, 64])
def test_g7_a_png_has_exactly_the_rows_of_its_header(count: int) -> None:
    assert decode(rows_of(32), "x").shape == (32, 32, 3)
    for read in (decode, decode_own):
        with pytest.raises(DamagedError, match="bytes of pixels"):
            read(rows_of(count), "x")


def test_g7_rows_in_several_chunks_are_counted_together() -> None:
    packed = zlib.compress((b"\0" + bytes(range(96))) * 32)
    head, end = chunks(rows_of(32))[0], chunks(rows_of(32))[-1]
    for cuts in ((0, 9, len(packed)), (0, 0, len(packed)), tuple(range(len(packed) + 1))):
        parts = [chunk(b"IDAT", packed[a:b]) for a, b in itertools.pairwise(cuts)]
        assert (decode(SIGNATURE + head + b"".join(parts) + end, "x") == decode(rows_of(32), "x")).all()
        with pytest.raises(DamagedError):
            decode(SIGNATURE + head + b"".join(parts[:-1]) + end, "x")
        apart = [parts[0], chunk(b"tEXt", b"a\0b"), *parts[1:]]
        with pytest.raises(DamagedError, match="misplaced"):
            decode(SIGNATURE + head + b"".join(apart) + end, "x")
    with pytest.raises(DamagedError, match="bytes of pixels"):  # a second stream behind the first
        decode(SIGNATURE + head + chunk(b"IDAT", packed + packed) + end, "x")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_g7_every_kind_of_png_is_read_and_none_when_a_bit_is_lost(mode: str) -> None:
    data = saved("PNG", mode)
    assert png_end(data, "x") == len(data)
    whole = decode_own(data, "x")[0]
    rng = np.random.default_rng(1)
    for _ in range(60):
        bad = bytearray(data)
        bad[rng.integers(8, len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(DamagedError):
            decode_own(bytes(bad), "x")
    for place in (*range(8, 60), *range(60, len(data), 97)):
        with pytest.raises(DamagedError):
            decode_own(data[:place], "x")
    assert (decode_own(data, "x")[0] == whole).all()


@pytest.mark.parametrize(("colour", "side"), list(itertools.product(CHANNELS, [1, 2, 3, 5, 8, 9])))
def test_interlaced_images_have_the_rows_of_their_passes(colour: int, side: int) -> None:
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    sizes = [(len(range(x, side, dx)), len(range(y, side, dy))) for x, y, dx, dy in passes]
    raw = sum(down * (1 + across * CHANNELS[colour]) for across, down in sizes if across > 0 and down > 0)
    palette = ((b"PLTE", bytes(768)),) if colour == 3 else ()
    for spare, fits in ((0, True), (1, False), (-1, False)):
        data = png(side, side, colour=colour, interlace=1, before=palette, data=stored(bytes(raw + spare)))
        if fits:
            assert decode_own(data, "x")[0].shape == (side, side, 3)
        else:
            with pytest.raises(DamagedError, match="bytes of pixels"):
                decode_own(data, "x")


HOSTILE: dict[str, tuple[Maker, str]] = {
    "animated": (lambda: ANIMATED, "animated"),
    "second header": (lambda: png(after=((b"IHDR", bytes(13)),)), "misplaced"),
    "no header": (lambda: SIGNATURE + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "not a readable|misplaced"),
    "unknown critical chunk": (lambda: png(before=((b"CgBI", bytes(4)),)), "CgBI"),
    "palette missing": (lambda: png(colour=3), "palette"),
    "colour outside the palette": (lambda: png(colour=3, before=((b"PLTE", bytes(3)),)), "palette does not hold"),
    "sixteen bits": (lambda: png(depth=16), "16 bits"),
    "sixteen bits of grey": (lambda: png(colour=0, depth=16), "16 bits"),
    "gif": (lambda: saved("GIF"), "GIF"),
    "tiff": (lambda: saved("TIFF"), "TIFF"),
    "ppm": (lambda: saved("PPM"), "PPM"),
    "cmyk without adobe": (lambda: saved("JPEG", "CMYK").replace(b"Adobe", b"adobe"), "CMYK"),
    "two frames": (lambda: saved("WEBP", save_all=True, append_images=[photograph().rotate(9)]), "frames|WEBP"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_whole_single_image_is_refused_everywhere(name: str) -> None:
    make, reason = HOSTILE[name]
    for read in (decode, decode_own):
        with pytest.raises(DamagedError, match=reason):
            read(make(), "x.png")


@pytest.mark.parametrize("kind", ["WEBP", "BMP"])
def test_webp_and_bmp_are_read_of_ones_own_alone(kind: str) -> None:
    data = saved(kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert (decode_own(data, "x")[0] == np.asarray(photograph())).all()
    with pytest.raises(DamagedError, match=kind):
        decode(data, "x")
    for place in range(0, len(data) - 1, 101):
        with pytest.raises(DamagedError):
            decode_own(data[:place], "x")


@pytest.mark.parametrize("name", JPEGS)
def test_g7_a_jpeg_is_read_to_its_last_marker_and_no_scan_is_cut(name: str) -> None:
    data = saved("JPEG", **JPEGS[name])
    markers = read_markers(data, "x")
    assert markers.end == len(data)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for read in (decode, lambda data, name: decode_own(data, name)[0]):
        assert (read(data, "x") == whole).all()
        for place in (*range(3, 40), *range(40, len(data) - 1, 41), len(data) - 1):
            with pytest.raises(DamagedError):
                read(data[:place], "x")
        refused = 0
        for start, end in markers.scans:  # a scan that breaks off, and is followed by what follows it
            for share in (0.0, 0.1, 0.4, 0.7):
                place = start + int((end - start) * share)
                while data[place - 1 : place] == b"\xff":
                    place -= 1
                try:  # a scan of nothing but zeros tells no pixel
                    assert (read(data[:place] + data[end:], "x") == whole).all()
                except DamagedError:
                    refused += 1
        assert refused >= 4 * len(markers.scans) - 4


def test_g7_a_jpeg_without_its_later_scans_is_cut() -> None:
    data = saved("JPEG", progressive=True)
    for _, end in read_markers(data, "x").scans[:-1]:
        with pytest.raises(DamagedError, match="lacks scans"):
            decode_own(data[:end] + b"\xff\xd9", "x")


def test_a_photograph_with_mid_grey_in_it_is_whole() -> None:
    image = photograph()
    image.paste((128, 128, 128), (16, 16, 48, 48))
    for options in JPEGS.values():
        file = io.BytesIO()
        image.convert(options.get("mode", "RGB")).save(
            file, "JPEG", **{k: v for k, v in options.items() if k != "mode"}
        )
        assert decode_own(file.getvalue(), "x")[2] == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("tail", [b"\0", b"hidden", b"\xff\xd8\xff\xd9", b"PK\x03\x04" + bytes(30)])
def test_g7_bytes_behind_the_end_are_counted_in_ones_own_and_refused_elsewhere(kind: str, tail: bytes) -> None:
    data = saved(kind)
    pixels, _, odd = decode_own(data + tail, "x")
    assert odd == (images.TRAILING,)
    assert (pixels == decode_own(data, "x")[0]).all()
    if kind in ("PNG", "JPEG"):
        with pytest.raises(DamagedError, match=f"{len(tail)} bytes behind the end"):
            decode(data + tail, "x")
    assert decode_own(data + data, "x")[2] == (images.TRAILING,)


def test_f6_opacity_is_kept_apart_and_said() -> None:
    image = photograph().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    for kind in ("PNG", "WEBP"):
        file = io.BytesIO()
        image.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
        pixels, _, odd = decode_own(file.getvalue(), "x")
        assert odd == (images.TRANSPARENT,)
        assert (pixels == np.asarray(photograph())).all()
    file = io.BytesIO()
    image.save(file, "PNG")
    found, opacity = decode_with_alpha(file.getvalue(), "x")
    assert (found == np.asarray(photograph())).all()
    assert opacity is not None
    assert (opacity == np.asarray(image.getchannel("A"))).all()
    with pytest.raises(DamagedError, match="transparent"):
        decode(file.getvalue(), "x")
    assert decode_with_alpha(saved("PNG", "RGBA"), "x")[1] is None
    marked = png(before=((b"tRNS", bytes(6)),), data=stored((b"\0" + bytes(24)) * 8))
    assert decode_own(marked, "x")[2] == (images.TRANSPARENT,)


def test_cameras_that_were_turned_and_inks_are_said() -> None:
    turned = Image.Exif()
    turned[images.ORIENTATION] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        pixels, _, odd = decode_own(saved(kind, exif=turned), "x")
        assert odd == (images.TURNED,)
        assert (pixels == decode_own(saved(kind), "x")[0]).all()
    turned[images.ORIENTATION] = 1
    assert decode_own(saved("JPEG", exif=turned), "x")[2] == ()
    assert decode_own(saved("JPEG", exif=b"Exif\0\0nonsense"), "x")[2] == ()
    assert decode_own(saved("JPEG", "CMYK"), "x")[2] == (images.INKS,)
    grey, _, odd = decode_own(saved("JPEG", "L"), "x")
    assert odd == ()
    assert (grey[..., 0] == grey[..., 2]).all()


@pytest.mark.parametrize("suffix", [".gif", ".TIF"])
def test_f4_the_line_of_a_refusal_converts(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "it's a class"
    folder.mkdir()
    photograph().save(folder / f"a{suffix}")
    line = images.conversion(str(folder / f"a{suffix}")).removeprefix("Type `python ").removesuffix("`")
    subprocess.run([sys.executable, *shlex.split(line)], check=True)
    assert decode_own((folder / "a.png").read_bytes(), "x")[0].shape == (64, 64, 3)
