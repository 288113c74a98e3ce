"""Sets off every bomb, each in a forked child, and prints as JSON what it cost. A program, not a test; no torch.

python tests/hostile/bombs.py SCRATCH
"""

# ruff: noqa: T201  a program

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from hostile import arrays, documents, judging, pickles, pictures  # noqa: E402
from hostile.archives import END, head, member, sample  # noqa: E402

from poisonsets.manifests import limits  # noqa: E402
from poisonsets.manifests.bases.cache import add_base  # noqa: E402
from poisonsets.manifests.bases.spec import parse_spec  # noqa: E402
from poisonsets.manifests.files import canonical_json, store  # noqa: E402
from poisonsets.manifests.files.safetensors_header import HEADER_BYTES  # noqa: E402
from poisonsets.manifests.sets import shard  # noqa: E402

Judge = Callable[[Path], judging.Verdict]
Prepare = Callable[[Path], object]
BASE: Final = judging.base()


def verified(here: Path) -> judging.Verdict:
    return judging.judged(judging.verify(here / "set", judging.find))


def document(make: Callable[[], bytes]) -> tuple[Prepare, Judge]:
    """Offer a document as a manifest."""
    return lambda here: judging.rehashed(here / "set", "manifest.json", make()), verified


def holes(name: str, size: int) -> tuple[Prepare, Judge]:
    """A file of a set that is all holes, of the recorded size; its digest matches nothing."""

    def prepare(here: Path) -> None:
        made = judging.rehashed(here / "set", name, b"")
        with (made / name).open("r+b") as file:
            file.truncate(size)
        listed = canonical_json.loads((made / "manifest.json").read_bytes(), "golden")
        for record in listed["files"]:
            if record["path"] == name:
                record["bytes"] = size
        (made / "manifest.json").write_bytes(canonical_json.checksummed(listed))

    return prepare, verified


def given(way: Callable[[Path, Path], judging.Verdict], name: str, make: Callable[[], bytes]) -> tuple[Prepare, Judge]:
    """Offer a file of this name in one of the ways of the corpus."""
    return lambda here: (here / name).write_bytes(make()), lambda here: way(here / name, here)


def way(name: str) -> Callable[[Path, Path], judging.Verdict]:
    return judging.WAYS[name][2]


def many_samples() -> bytes:
    images = np.repeat(BASE.train.images[:1], limits.SLOTS_PER_SHARD + 1, axis=0)
    return shard.encode(0, 0, images, np.zeros(len(images), dtype=np.int64))


def unpacking(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def large_picture() -> bytes:
    """A black picture of 8,000 pixels a side in 200 kB."""
    return pictures.png(8000, 8000, data=unpacking(8000 * 24001))


def chunk_picture(kind: bytes, start: bytes) -> Callable[[], bytes]:
    return lambda: pictures.png(before=((kind, start + unpacking(40 << 20)),))


def one_array_often() -> bytes:
    """9,000 trials that share one list of 5,000 bases."""
    entries = b"](" + b"K\x01" * 5000 + b"e\x94"
    entry = (
        b"}("
        + pickles.long(b"target index") + b"K\x00"
        + pickles.long(b"target class") + b"K\x00"
        + pickles.long(b"base class") + b"K\x01"
        + pickles.long(b"base indices") + b"h\x00"
        + b"u"
    )  # fmt: skip
    return b"\x80\x04" + entries + b"0](" + entry * 9_000 + b"e."


def attribute() -> bytes:
    def fill(file: h5py.File) -> None:
        arrays.honest_images(file)
        text = "[" + "{}," * 1_500_000 + "0]"
        kind = h5py.string_dtype("ascii", len(text))
        file.attrs.create("classes", text.encode(), dtype=kind)

    return arrays.hdf5(fill)


def put_class_names(here: Path) -> None:
    (here / "base").mkdir()
    (here / "base" / "train-0.tar").write_bytes((judging.HONEST / "shard.tar").read_bytes())
    (here / "base" / "classes.json").write_bytes(b"[" + b"{}," * 20_000_000 + b"0]")


def read_class_names(here: Path) -> judging.Verdict:
    spec = parse_spec(f"webdataset:{here / 'base'}", holdout="1/3")
    return judging.said(lambda: add_base(spec, cache=here / "cache"))


def put_holes(name: str, size: int, start: bytes = b"") -> Prepare:
    def prepare(here: Path) -> None:
        with (here / name).open("wb") as file:
            file.write(start)
            file.truncate(size)

    return prepare


def many_tensors() -> bytes:
    entries = ",".join(f'"{number:x}":{{"dtype":"F32","shape":[],"data_offsets":[0,0]}}' for number in range(18_000))
    text = ("{" + entries + "}").encode()
    assert len(text) < HEADER_BYTES
    return len(text).to_bytes(8, "little") + text


def zipped() -> bytes:
    """An honestly deflated member that unpacks to a thousand times its size."""
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = raw.compress(bytes(60 << 20)) + raw.flush()
    made = arrays.npz(("poisons.npy", data), kind=8)
    at = made.index(b"PK\x01\x02")
    sizes = struct.pack("<II", len(data), 60 << 20)
    made = made[: at + 20] + sizes + made[at + 28 :]
    return made[:8] + struct.pack("<H", 8) + made[10:18] + sizes + made[26:]


def zip_of_members(count: int = 300_000) -> bytes:
    """A directory of empty members, all at one place."""
    local = b"PK\x03\x04" + bytes(26)
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 6) + bytes(16)
    entries = b"".join(entry + b"%06d" % number for number in range(count))
    return local + entries + struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, 9, 9, len(entries), len(local), 0)


def black_picture() -> bytes:
    """The largest picture that is read, in 3 kB."""
    return pictures.png(limits.IMAGE_SIDE, limits.IMAGE_SIDE, data=unpacking(limits.IMAGE_SIDE * (3 * 1024 + 1)))


def put_pictures(here: Path) -> None:
    folder, data = here / "theirs" / "train" / BASE.classes[0], black_picture()
    folder.mkdir(parents=True)
    for number in range(100):
        (folder / f"{number}-{number}.png").write_bytes(data)


def put_shard(here: Path) -> None:
    (here / "theirs").mkdir()
    data = black_picture()
    samples = (member(f"{n:08d}-{n}.cls", b"0") + member(f"{n:08d}-{n}.png", data) for n in range(100))
    (here / "theirs" / "poisons-000000.tar").write_bytes(b"".join(samples) + END)


def read_foreign(form: str) -> Judge:
    def read(here: Path) -> judging.Verdict:
        chosen, declared = judging.formats.formats()[form], judging.Claims(target=0)
        done = judging.import_set(here / "made", chosen, here / "theirs", BASE, declared, name="imported")
        return judging.Verdict(done.worst, words="\n".join(one.line() for one in done.findings))

    return read


BOMBS: Final[dict[str, tuple[Prepare, Judge]]] = {
    "a manifest of 65 MB": document(lambda: b" " * (65 << 20)),
    "a manifest of 20 million objects": document(lambda: b"[" + b"{}," * 20_000_000 + b"0]\n"),
    "a manifest of 12 million texts": document(lambda: b"[" + b'"ab",' * 12_000_000 + b"0]\n"),
    "a manifest of 5 million keys": document(
        lambda: b"{" + b",".join(b'"%07d":0' % number for number in range(5_000_000)) + b"}\n"
    ),
    "a manifest of 30 million numbers": document(lambda: b"[" + b"0," * 30_000_000 + b"0]\n"),
    "a manifest of twenty thousand levels": document(lambda: documents.deep(20_000)),
    "a manifest of one text of 60 MB": document(lambda: b'{"a":"' + b"a" * (60 << 20) + b'"}\n'),
    "a shard of 4 GiB of nothing": holes("poisons/trial-00000-000.tar", 4 << 30),
    "a picture of 4 GiB of nothing": holes("triggers/cross.png", 4 << 30),
    "a card of 4 GiB of nothing": holes("README.md", 4 << 30),
    "a run record of 2 GiB of nothing": holes("run.json", 2 << 30),
    "a shard of a thousand and one samples": given(way("shard"), "a.tar", many_samples),
    "an extended header of 100 MB": given(
        judging.a_training_set, "a.tar", lambda: member("pax", b"9 a=bbbb\n" * (100 << 20 >> 3), kind=b"x") + END
    ),
    "a name of 100 MB": given(
        judging.a_training_set, "a.tar", lambda: member("long", b"a" * (100 << 20), kind=b"L") + END
    ),
    "a member of 1 GiB of nothing": (
        put_holes("a.tar", (1 << 30) + 1536, head("0.png", 1 << 30)),
        lambda here: judging.a_training_set(here / "a.tar", here),
    ),
    "five thousand extended headers": given(
        judging.a_training_set,
        "a.tar",
        lambda: member("long", b"a\0", kind=b"L") * 5000 + b"".join(sample(0)) + END,
    ),
    "a picture that unpacks a thousandfold": given(way("picture of a base"), "a.png", large_picture),
    "a text chunk that unpacks a thousandfold": given(
        way("picture of a base"), "a.png", chunk_picture(b"zTXt", b"Comment\0\0")
    ),
    "a colour profile that unpacks a thousandfold": given(
        way("picture of a base"), "a.png", chunk_picture(b"iCCP", b"p\0\0")
    ),
    "a setup of 9 MB": given(judging.a_setup, "a", lambda: b"{" + b" " * (9 << 20) + b"}"),
    "a setup of 2 million objects": given(judging.a_setup, "a", lambda: b'{"a":[' + b"{}," * 2_000_000 + b"0]}"),
    "a setup that names one list nine thousand times": given(judging.a_setup, "a", one_array_often),
    "a pickle of two million steps": given(judging.a_setup, "a", lambda: b"N0" * 1_100_000 + b"N."),
    "class names of 60 MB": (put_class_names, read_class_names),
    "class names of an attribute of 8 MB": given(way("hdf5 with class names"), "a.h5", attribute),
    "an array that unpacks a thousandfold": given(way("npz as poisons"), "a.npz", zipped),
    "sixty thousand members": given(
        judging.a_training_set, "a.tar", lambda: member("note.txt", b"") * 60_000 + b"no archive any more"
    ),
    "a zip of three hundred thousand members": given(way("npz as poisons"), "a.npz", zip_of_members),
    "a folder of large pictures": (put_pictures, read_foreign("folder")),
    "a shard of large pictures": (put_shard, read_foreign("webdataset")),
    "weights of 3 GiB of nothing": (
        put_holes("w", 3 << 30),
        lambda here: judging.said(lambda: store.read_file(here / "w", 2 << 30)),
    ),
    "weights with a header of many tensors": given(judging.a_surrogate, "a", many_tensors),
}


def cost(judge: Judge, here: Path) -> dict[str, object]:
    """What judging costs a process that has not held the bomb before."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    verdict = judge(here)
    seconds, after = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF)
    grown = (after.ru_maxrss - before.ru_maxrss) << 10
    return {"code": verdict.code, "seconds": seconds, "grown": grown, "words": str(verdict)[:300]}


def forked(act: Callable[[], object]) -> object:
    """What a forked child made of it, as JSON; code 70 and a traceback where the error was not ours."""
    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = act()
        except BaseException:
            told = {"code": 70, "words": traceback.format_exc()[-1500:]}
        os.write(out, json.dumps(told).encode())
        os._exit(0)
    os.close(out)
    data = b"".join(iter(lambda: os.read(into, 65536), b""))
    os.close(into)
    os.waitpid(child, 0)
    return json.loads(data)


def main() -> None:
    told = {}
    for name, (prepare, judge) in BOMBS.items():
        with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
            here = Path(folder)
            failed = forked(lambda prepare=prepare, here=here: prepare(here) and None)  # type: ignore[misc]
            told[name] = failed or forked(lambda judge=judge, here=here: cost(judge, here))  # type: ignore[misc]
    assert "torch" not in sys.modules
    print(json.dumps(told))


if __name__ == "__main__":
    main()
