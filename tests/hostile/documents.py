"""Manifests that parsers read in more than one way, and fields with values that no manifest may have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from golden.making import GOLDEN

from poisonsets.manifests.files import canonical_json

Change = Callable[[dict[str, Any]], Any]
HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"
ESCAPES = "\x1b[2J\x1b]0;title\x07\r\n\u202egpj.exe"


def good() -> bytes:
    return (GOLDEN / "manifest.json").read_bytes()


def edited(change: Change) -> bytes:
    """The golden manifest with a change and the right checksum."""
    document = canonical_json.loads(good(), "golden")
    change(document)
    return canonical_json.checksummed(document)


def spelled(old: str, new: str) -> bytes:
    """The golden manifest with other characters: apart from them only its checksum is wrong."""
    text = good().decode()
    assert old in text, old
    return text.replace(old, new, 1).encode("utf-8", "surrogatepass")


def put(*path: str | int, value: Any) -> bytes:
    """The golden manifest with one value replaced or added."""

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return edited(change)


def _path(value: str) -> bytes:
    return put("files", 0, "path", value=value)


def deep(depth: int) -> bytes:
    return b'{"a":' * depth + b"0" + b"}" * depth + b"\n"


def _longer_labels(document: dict[str, Any]) -> None:
    document["trials"][0]["slots"]["labels"].append(1)


def _without(key: str) -> bytes:
    return edited(lambda document: document.pop(key))


def _twice(*keys: str) -> bytes:
    """Each of these lists with its first member twice."""
    return edited(lambda document: [document[key].insert(0, document[key][0]) for key in keys])


DOCUMENTS: dict[str, Callable[[], bytes]] = {
    "key-twice": lambda: spelled('"levels":8', '"levels":8,"levels":255'),
    "key-twice-at-the-top": lambda: spelled('"seed":7', '"seed":7,"seed":7'),
    "nan": lambda: spelled('"levels":8', '"levels":NaN'),
    "infinity": lambda: spelled('"levels":8', '"levels":-Infinity'),
    "beyond-all-floats": lambda: spelled('"levels":8', '"levels":1e999'),
    "float": lambda: spelled('"levels":8', '"levels":8.0'),
    "exponent": lambda: spelled('"levels":8', '"levels":8e0'),
    "minus-zero": lambda: spelled('"seed":7', '"seed":-0'),
    "zeros-before-a-number": lambda: spelled('"levels":8', '"levels":08'),
    "boolean-for-a-number": lambda: spelled('"levels":8', '"levels":true'),
    "text-for-a-number": lambda: put("trials", 0, "constraint", "levels", value="8"),
    "number-for-a-text": lambda: put("name", value=7),
    "number-for-a-boolean": lambda: put("trials", 0, "constraint", "exempt_trigger", value=0),
    "list-for-an-object": lambda: put("base", value=[]),
    "nothing-for-an-object": lambda: put("trials", 0, "constraint", value=None),
    "five-thousand-digits": lambda: spelled('"seed":7', '"seed":' + "7" * 5000),
    "utf-16": lambda: good().decode().encode("utf-16"),
    "byte-order-mark": lambda: b"\xef\xbb\xbf" + good(),
    "utf-8": lambda: spelled("golden", "g\u00f6lden"),
    "half-a-character": lambda: spelled("golden", r"\ud800"),
    "escaped-letter": lambda: spelled('"seed":7', r'"s\u0065ed":7'),
    "control-character": lambda: spelled("golden", "gol\x01den"),
    "nul": lambda: put("name", value="golden\0"),
    "spaces": lambda: json.dumps(json.loads(good()), sort_keys=True).encode() + b"\n",
    "keys-not-sorted": lambda: (
        json.dumps(dict(reversed(json.loads(good()).items())), separators=(",", ":")) + "\n"
    ).encode(),
    "comment": lambda: good()[:-1] + b"// ok\n",
    "two-documents": lambda: good() + good(),
    "no-line-feed": lambda: good()[:-1],
    "carriage-return": lambda: good()[:-1] + b"\r\n",
    "cut": lambda: good()[:1500],
    "empty": lambda: b"",
    "an-empty-object": lambda: b"{}\n",
    "a-list": lambda: b"[]\n",
    "nothing": lambda: b"null\n",
    "yaml": lambda: b"!!python/object/apply:os.system ['touch poisonsets-was-here']\n",
    "xml": lambda: b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>\n',
    "two-thousand-deep": lambda: deep(2_000),
    "five-hundred-deep": lambda: deep(500),
    "another-format": lambda: put("format", value="poisonset/2"),
    "unknown-field": lambda: put("surprise", value=1),
    "unknown-field-of-a-trial": lambda: put("trials", 0, "__class__", value="os.system"),
    "field-missing": lambda: _without("attack"),
    "default-left-out": lambda: _without("surrogates"),
    "checksum": lambda: spelled('"name":"golden"', '"name":"olden"'),
    "levels-0": lambda: put("trials", 0, "constraint", "levels", value=0),
    "levels-256": lambda: put("trials", 0, "constraint", "levels", value=256),
    "norm-of-two-constraints": lambda: put("trials", 0, "constraint", "squared_levels", value=1),
    "exemption-without-a-trigger": lambda: put("trials", 0, "constraint", "exempt_trigger", value=True),
    "index-minus-1": lambda: put("trials", 0, "slots", "bases", 0, value=-1),
    "index-2-to-the-53-and-1": lambda: put("trials", 0, "slots", "bases", 0, value=2**53 + 1),
    "index-2-to-the-63": lambda: put("trials", 0, "slots", "bases", 0, value=2**63),
    "index-2-to-the-64": lambda: put("trials", 0, "slots", "bases", 0, value=2**64),
    "label-of-no-class": lambda: put("trials", 0, "slots", "labels", 0, value=3),
    "more-labels-than-bases": lambda: edited(_longer_labels),
    "no-slots": lambda: put("trials", 0, "slots", value={"bases": [], "labels": [], "cover": []}),
    "no-trials": lambda: put("trials", value=[]),
    "trial-number-minus-1": lambda: put("trials", 0, "trial", value=-1),
    "trial-number-of-six-digits": lambda: put("trials", 1, "trial", value=100_000),
    "trial-twice": lambda: _twice("trials", "shards"),
    "file-twice": lambda: _twice("files"),
    "file-of-2-to-the-63": lambda: put("files", 0, "bytes", value=2**63),
    "file-of-minus-1": lambda: put("files", 0, "bytes", value=-1),
    "images-of-0-pixels": lambda: put("base", "splits", "train", "height", value=0),
    "images-of-65535-pixels": lambda: put("base", "splits", "train", "height", value=65535),
    "no-victim": lambda: put("trials", 0, "targets", value=[]),
    "alpha-of-many-digits": lambda: put(
        "triggers", "cross", value={"kind": "image", "image": "triggers/cross.png", "alpha": "0." + "1" * 400}
    ),
    "rate-of-nothing": lambda: put("setup", "rate", value="1/0"),
    "digest-in-capitals": lambda: put("content_digest", value="A" * 64),
    "path-upwards": lambda: _path("../escape.tar"),
    "path-upwards-inside": lambda: _path("poisons/../../escape.tar"),
    "path-absolute": lambda: _path("/etc/passwd.txt"),
    "path-of-windows": lambda: _path("poisons\\trial.tar"),
    "path-of-a-drive": lambda: _path("C:/trial.tar"),
    "path-with-nul": lambda: _path("poisons/a\0.tar"),
    "path-with-a-line-feed": lambda: _path("poisons/a.tar\n"),
    "path-with-escapes": lambda: _path("poisons/\x1b[31m.tar"),
    "path-from-right-to-left": lambda: _path("poisons/\u202egpj.tar"),
    "path-composed": lambda: _path("poisons/\u00e9.tar"),
    "path-decomposed": lambda: _path("poisons/e\u0301.tar"),
    "path-of-255-bytes": lambda: _path("a" * 251 + ".tar"),
    "path-with-dots": lambda: _path("a.b.c.tar"),
    "path-hidden": lambda: _path(".hidden.tar"),
    "path-of-underscores": lambda: _path("__index__.tar"),
    "path-deep": lambda: _path("a/b/c.tar"),
    "path-doubled-slash": lambda: _path("poisons//a.tar"),
    "path-of-a-url": lambda: _path("https://example.org/a.tar"),
    "path-of-a-pipe": lambda: _path("pipe:touch poisonsets-was-here"),
    "path-of-nothing": lambda: _path(""),
    "title-of-html": lambda: put("name", value=HTML),
    "title-of-yaml": lambda: put("name", value="a\nlicense: mit"),
    "attack-of-escapes": lambda: put("attack", "name", value=ESCAPES),
    "text-of-5000-characters": lambda: put("notice", value="a" * 5000),
    "not-in-the-least-a-manifest": lambda: bytes(range(256)),
}
# What a manifest may say and no terminal or page may obey.
SHOWN: dict[str, Callable[[], bytes]] = {
    "text-of-html": lambda: edited(lambda document: _everywhere(document, HTML)),
    "text-of-escapes": lambda: edited(lambda document: _everywhere(document, ESCAPES)),
    "text-of-a-formula": lambda: edited(lambda document: _everywhere(document, "=cmd|'/C calc'!A0")),
    "text-of-markup": lambda: edited(
        lambda document: _everywhere(document, "[link=file:///etc/passwd]x[/link] **b** | c")
    ),
    "text-of-format-strings": lambda: edited(
        lambda document: _everywhere(document, "%s%n{0.__class__}${jndi:ldap://x}")
    ),
}


def _everywhere(document: dict[str, Any], text: str) -> None:
    """The same text wherever the format takes free text."""
    document["notice"] = text
    document["base"]["classes"] = [text, *document["base"]["classes"][1:]]
    document["libraries"] = {"python": text}
    document["attack"]["settings"] = {"text": text}
    document["attack"]["trigger_spec"] = text
    document["setup"] = {"kind": "foreign", "name": text}
