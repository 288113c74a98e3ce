"""Canonical JSON: one spelling, and a parser that refuses every other one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import canonical_json

LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@given(DOCUMENTS)
def test_a_document_survives_and_has_one_spelling(document: object) -> None:
    data = canonical_json.dumps(document)
    assert canonical_json.loads(data, "it") == document
    assert data.isascii()
    assert data.endswith(b"\n")


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}\n',
        b'{"b":1,"a":2}\n',
        b'{"a": 1}\n',
        b'{"a":1}',
        b'{"a":1}\n\n',
        b'{"a":1.0}\n',
        b'{"a":1e3}\n',
        b'{"a":NaN}\n',
        b'{"a":Infinity}\n',
        b'{"a":01}\n',
        '{"a":"é"}\n'.encode(),
        '{"a":1}\n'.encode("utf-16"),
        b"[" * 200_000,
        b'{"a":' + b"9" * 5000 + b"}\n",
        b"",
        b"\xff\xfe",
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedError, match="the file"):
        canonical_json.loads(data, "the file")


@pytest.mark.parametrize("depth", range(900, 1010, 5))
def test_nesting_is_read_or_refused_at_every_depth(depth: int) -> None:
    with suppress(DamagedError):
        canonical_json.loads(b"[" * depth + b"]" * depth + b"\n", "the file")
