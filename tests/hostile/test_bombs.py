"""Small files that claim or unpack to far more than they are: refused at once, in little memory, with nothing left.

They are sparse or too large for the corpus, so they are made here. Memory is measured in a process of their own.
"""

from __future__ import annotations

from pathlib import Path

from hostile.script import run_script

MEBIBYTE = 1 << 20
SECONDS = 2.0


CODES = {
    "a manifest of 65 MB": 3,
    "a manifest of 20 million objects": 3,
    "a manifest of 12 million texts": 3,
    "a manifest of 5 million keys": 3,
    "a manifest of 30 million numbers": 3,
    "a manifest of twenty thousand levels": 3,
    "a manifest of one text of 60 MB": 3,
    "a shard of 4 GiB of nothing": 3,
    "a picture of 4 GiB of nothing": 3,
    "a card of 4 GiB of nothing": 3,
    "a run record of 2 GiB of nothing": 3,
    "a shard of a thousand and one samples": 3,
    "an extended header of 100 MB": 3,
    "a name of 100 MB": 3,
    "a member of 1 GiB of nothing": 3,
    "five thousand extended headers": 3,
    "a picture that unpacks a thousandfold": 3,
    "a text chunk that unpacks a thousandfold": 3,
    "a colour profile that unpacks a thousandfold": 3,
    "a setup of 9 MB": 3,
    "a setup of 2 million objects": 3,
    "a setup that names one list nine thousand times": 3,
    "a pickle of two million steps": 3,
    "class names of 60 MB": 3,
    "class names of an attribute of 8 MB": 3,
    "an array that unpacks a thousandfold": 3,
    "sixty thousand members": 3,
    "a zip of three hundred thousand members": 3,
    "a folder of large pictures": 3,
    "a shard of large pictures": 3,
    "weights of 3 GiB of nothing": 3,
    "weights with a header of many tensors": 1,
}

READ = {name for name in CODES if name.startswith("a manifest of")}
READ |= {"class names of 60 MB", "a setup that names one list nine thousand times"}


def test_every_bomb_is_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    told = run_script("bombs.py", tmp_path)
    assert not list(tmp_path.iterdir())
    assert set(told) == set(CODES)
    assert {name: one["code"] for name, one in told.items()} == CODES
    assert {name: one["seconds"] for name, one in told.items() if one["seconds"] >= SECONDS} == {}
    # A manifest and class names of up to 64 MiB and a setup of ten million bases are read; all else is refused before.
    most = {name: (256 if name in READ else 64) * MEBIBYTE for name in told}
    assert {name: one["grown"] for name, one in told.items() if one["grown"] >= most[name]} == {}
