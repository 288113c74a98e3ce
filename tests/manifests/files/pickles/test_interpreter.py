"""Pickles as data: what the standard pickler writes comes back equal, and nothing is ever called."""

from __future__ import annotations

import io
import os
import pickle  # writes fixtures; the project itself never imports it
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.pickles import interpreter

# No booleans: True and 1 are one key.
KEYS = st.one_of(st.text(max_size=5), st.integers(-(2**80), 2**80))
PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**120), 2**120),
        st.floats(allow_nan=False),
        st.text(max_size=20),
        st.binary(max_size=300),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=5).map(tuple), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(PLAIN, st.integers(0, 5))
def test_plain_values_come_back_equal_under_every_protocol(value: Any, protocol: int) -> None:
    loaded = interpreter.load(pickle.dumps(value, protocol), "x")
    assert loaded == value
    assert repr(loaded) == repr(value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", "<i4", "<i8", ">i8", "<f4", "<f8"])
def test_arrays_and_scalars_come_back_equal(protocol: int, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    scalar = array[1, 0, 1]
    for value in (array, np.asfortranarray(array), array[0], array[:0], array[1:, ::2]):
        loaded = interpreter.load(pickle.dumps([value, scalar, value], protocol), "x")
        for copy in (loaded[0], loaded[2]):
            assert copy.dtype == value.dtype
            assert copy.shape == value.shape
            assert (copy == value).all()
            assert not copy.flags.writeable
        assert loaded[1] == scalar.item()
        assert type(loaded[1]) is type(scalar.item())


def test_older_module_names_mean_the_same() -> None:
    data = pickle.dumps(np.arange(3), 2)
    assert b"numpy._core.multiarray" in data
    loaded = interpreter.load(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"), "x")
    assert loaded.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"'plain'", b"plain"),
        (rb"'a\\b\'c\x00\xff\n\r\t'", b"a\\b'c\x00\xff\n\r\t"),
        (rb'"it' + b"'s" + b'"', b"it's"),
    ],
)
def test_python_2_strings_of_protocol_0(line: bytes, value: bytes) -> None:
    assert interpreter.load(b"S" + line + b"\n.", "x") == value


class Runs:
    """Pickles to a call that would leave a file behind."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


class Persistent(pickle.Pickler):
    """Writes a persistent id for every string."""

    def persistent_id(self, value: object) -> object:
        return 5 if isinstance(value, str) else None


def persistent() -> bytes:
    file = io.BytesIO()
    Persistent(file, 2).dump(["text"])
    return file.getvalue()


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


ATTACKS: dict[str, Callable[[str], bytes]] = {
    "system by protocol 0": lambda mark: pickle.dumps(Runs(os.system, f"touch {mark}"), 0),
    "system by protocol 2": lambda mark: pickle.dumps(Runs(os.system, f"touch {mark}"), 2),
    "system by protocol 4": lambda mark: pickle.dumps(Runs(os.system, f"touch {mark}"), 4),
    "open for writing": lambda mark: pickle.dumps(Runs(open, mark, "w"), 5),
    "eval": lambda mark: pickle.dumps(Runs(eval, f"open({mark!r}, 'w')"), 3),
    "nested deep": lambda mark: pickle.dumps([({"a": [Runs(os.system, f"touch {mark}")]},)], 4),
    "an array of objects": lambda mark: pickle.dumps(np.array([Runs(os.system, f"touch {mark}"), 1], dtype=object)),
    "pickle in a pickle": lambda mark: pickle.dumps(Runs(pickle.loads, pickle.dumps(Runs(os.system, f"touch {mark}")))),
    "global assembled on the stack": lambda mark: (
        b"\x80\x04" + short("os") + short("system") + b"\x93" + short(f"touch {mark}") + b"\x85R."
    ),
    "attribute path of an allowed module": lambda mark: (
        b"\x80\x04" + short("numpy") + short("f2py.os.system") + b"\x93" + short(f"touch {mark}") + b"\x85R."
    ),
    "global named by bytes": lambda mark: b"\x80\x04C\x02osC\x06system\x93" + short(f"touch {mark}") + b"\x85R.",
    "global named by a list": lambda mark: b"\x80\x04]" + short("system") + b"\x93" + short(mark) + b"\x85R.",
    "INST": lambda mark: b"(S'touch " + mark.encode() + b"'\nios\nsystem\n.",
    "OBJ": lambda mark: b"(cos\nsystem\nS'touch " + mark.encode() + b"'\no.",
    "REDUCE of a string": lambda mark: short("os.system") + short(mark) + b"\x85R.",
    "REDUCE of the array class": lambda mark: b"cnumpy\nndarray\nK\x01\x85R.",
    "REDUCE without a tuple": lambda mark: b"cnumpy\ndtype\n" + short("u1") + b"R.",
    "BUILD of a dict": lambda mark: b"\x80\x02}" + b"}b.",
    "BUILD of a global": lambda mark: b"cnumpy\nndarray\n}b.",
    "persistent id": lambda mark: persistent(),
    "persistent id as text": lambda mark: b"Pstorage\n.",
    "extension registry": lambda mark: b"\x80\x02\x82\x01.",
    "extension registry, 4 bytes": lambda mark: b"\x80\x02\x84\x01\0\0\0.",
    "NEWOBJ_EX": lambda mark: b"\x80\x04cnumpy\ndtype\n)}\x92.",
    "out of band buffer": lambda mark: b"\x80\x05\x97.",
    "set": lambda mark: pickle.dumps({1, 2}, 4),
    "class": lambda mark: pickle.dumps(Path, 4),
    "dtype of objects": lambda mark: pickle.dumps(np.dtype("O")),
    "dtype with fields": lambda mark: pickle.dumps(np.zeros(2, [("a", "i4")])),
    "array of strings": lambda mark: pickle.dumps(np.array(["a", "b"])),
    "array of complex": lambda mark: pickle.dumps(np.zeros(2, complex)),
    "other encoding": lambda mark: b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-7\x86R.",
    "zip": lambda mark: b"PK\x03\x04" + bytes(60),
    "seven zip": lambda mark: b"7z\xbc\xaf\x27\x1c" + bytes(60),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_not_data_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    data = ATTACKS[name](str(mark))
    with pytest.raises(DamagedError, match=r"^bad\.pickle: pickle opcode .* at byte [0-9]+: "):
        interpreter.load(data, "bad.pickle")
    assert not mark.exists()


def test_the_error_names_opcode_and_position() -> None:
    with pytest.raises(DamagedError, match=r"opcode GLOBAL at byte 2: the global os\.system is not allowed"):
        interpreter.load(b"\x80\x02cos\nsystem\n.", "x")
    with pytest.raises(DamagedError, match="opcode BINPERSID at byte 3"):
        interpreter.load(b"\x80\x02NQ.", "x")
    with pytest.raises(DamagedError, match=r"opcode byte ff at byte 0"):
        interpreter.load(b"\xff", "x")


def test_nothing_a_name_holds_reaches_the_terminal_raw() -> None:
    with pytest.raises(DamagedError) as caught:
        interpreter.load(b"c\x1b[2J\nevil\xe2\x80\xae\n.", "x")
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "two values": b"NN.",
    "no value": b".",
    "open mark": b"(N.",
    "trailing bytes": b"N.N",
    "unknown protocol": b"\x80\x06N.",
    "frame past the end": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.",
    "string past the end": b"B" + struct.pack("<I", 2**32 - 1) + b"x.",
    "huge string": b"\x8e" + struct.pack("<Q", 2**64 - 1) + b"x.",
    "bytes that are no text": b"X\x02\0\0\0\xff\xfe.",
    "mark below a tuple": b"N(\x86.",
    "tuple of too few": b"N\x87.",
    "append to a tuple": b")Na.",
    "append to nothing": b"Na.",
    "item of a list": b"]NNs.",
    "odd items": b"}(Nu.",
    "list as key": b"}]Ns.",
    "tuple as key": b"})Ns.",
    "none as key": b"}NNs.",
    "float as key": b"}G" + bytes(8) + b"Ns.",
    "unknown memo": b"h\x05.",
    "memo of nothing": b"q\x05.",
    "pop of nothing": b"0N.",
    "long integer": b"\x8b" + struct.pack("<I", 2**20) + bytes(2**20) + b".",
    "negative length": b"\x8b\xff\xff\xff\xff.",
    "digits": b"I" + b"9" * 5000 + b"\n.",
    "no digits": b"Ione\n.",
    "no line": b"I1",
    "quotes": b"Splain\n.",
    "escape": rb"S'\q'" + b"\n.",
    "unicode escape": rb"V\uzzzz" + b"\n.",
    "array larger than its bytes": pickle.dumps(np.zeros(3, "u1"), 2).replace(b"K\x03\x85", b"K\x04\x85"),
    "array with negative side": pickle.dumps(np.zeros(3, "u1"), 2).replace(b"K\x03\x85", b"J\xfd\xff\xff\xff\x85"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_are_damage(name: str) -> None:
    with pytest.raises(DamagedError, match=r"^x: pickle opcode"):
        interpreter.load(MALFORMED[name], "x")


@pytest.mark.parametrize("protocol", range(6))
def test_every_cut_and_many_flips_end_in_a_value_or_in_damage(protocol: int) -> None:
    value = [{"target class": 1, "base indices": np.arange(4)}, np.int64(7), "é", 1.5, (None, True, b"\xff")]
    good = pickle.dumps(value, protocol)
    for end in range(len(good)):
        with pytest.raises(DamagedError):
            interpreter.load(good[:end], "x")
    rng = np.random.default_rng(protocol)
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            interpreter.load(bytes(data), "x")
        except DamagedError:
            continue


@pytest.mark.parametrize("bomb", [b"]" * 3000, b"(" * 3000, b"]" + b"\x94" * 3000, b"N0" * 3000])
def test_no_pickle_takes_more_steps_than_the_limit(monkeypatch: pytest.MonkeyPatch, bomb: bytes) -> None:
    assert interpreter.STEPS <= 2_000_000
    monkeypatch.setattr(interpreter, "STEPS", 2000)
    with pytest.raises(DamagedError, match="more than 2000 pickle opcodes"):
        interpreter.load(bomb, "x")


def test_a_memo_cannot_multiply_bytes() -> None:
    megabyte = 1 << 20
    text = b"X" + struct.pack("<I", megabyte) + b"a" * megabyte + b"q\x00"
    encode = b"c_codecs\nencode\nq\x01X\x06\0\0\0latin1q\x02"
    bomb = text + encode + b"000" + b"(" + b"h\x01h\x00h\x02\x86R" * 1000 + b"t."
    dtype = b"cnumpy\ndtype\n" + short("u1") + b"\x89\x88\x87R(K\x03" + short("|") + b"NNNtbq\x01"
    function = b"cnumpy._core.numeric\n_frombuffer\nq\x02"
    shape = b"J" + struct.pack("<i", megabyte) + b"\x85q\x03"
    raw = b"B" + struct.pack("<I", megabyte) + bytes(megabyte) + b"q\x00"
    calls = b"h\x02(h\x00h\x01h\x03" + short("C") + b"tR"
    arrays = raw + dtype + function + shape + b"0000](" + calls * 1000 + b"e."
    tracemalloc.start()
    with pytest.raises(DamagedError, match="more bytes than the file has"):
        interpreter.load(bomb, "x")
    assert len(interpreter.load(arrays, "x")) == 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * megabyte


def test_a_list_in_itself_and_deep_nesting_are_harmless() -> None:
    loop = interpreter.load(b"]q\x00h\x00a.", "x")
    assert loop[0] is loop
    depth = 200_000
    deep = interpreter.load(b"N" + b"\x85" * depth + b".", "x")
    assert deep[0][0] is not None
    assert sys.getrecursionlimit() < depth


def test_no_audit_event_of_a_dangerous_kind(tmp_path: Path) -> None:
    events: list[str] = []
    watching = True

    def hook(event: str, _arguments: tuple[object, ...]) -> None:
        if watching:
            events.append(event)

    attacks = [make(str(tmp_path / "ran")) for make in ATTACKS.values()]
    sys.addaudithook(hook)
    for data in attacks:
        with pytest.raises(DamagedError):
            interpreter.load(data, "x")
    watching = False
    kinds = ("pickle.", "exec", "compile", "import", "open", "os.", "subprocess.", "socket.", "ctypes.")
    assert not [event for event in events if event.startswith(kinds)]
