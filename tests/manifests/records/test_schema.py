"""schema.json is exported from the model, and real manifests conform to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import small_base, small_set

from poisonsets.manifests.records.schema import PATH, schema

GOLDEN = Path(__file__).parents[2] / "golden" / "poisonset-1"


def test_the_file_is_the_export() -> None:
    assert PATH.read_text() == schema(), "manifests/records/manifest.py has changed: type `make schema`"


def faults(value: Any, part: dict[str, Any], root: dict[str, Any], at: str = "") -> list[str]:
    """The places where a document breaks a schema that uses only the keywords of the export."""
    assert set(part) <= KEYWORDS | STRUCTURE, f"{at}: unknown to this test: {set(part) - KEYWORDS - STRUCTURE}"
    if "$ref" in part:
        return faults(value, root["$defs"][part["$ref"].removeprefix("#/$defs/")], root, at)
    for choices in (part.get("anyOf"), part.get("oneOf")):
        if choices is not None and all(faults(value, choice, root, at) for choice in choices):
            return [f"{at}: fits no choice"]
    found = [f"{at}: {keyword}" for keyword in KEYWORDS & set(part) if not holds(keyword, part[keyword], value)]
    if isinstance(value, dict):
        for key, item in value.items():
            inner = part.get("properties", {}).get(key)
            if inner is None:
                inner = next((s for p, s in part.get("patternProperties", {}).items() if re.search(p, key)), None)
            if inner is None and isinstance(part.get("additionalProperties"), dict):
                inner = part["additionalProperties"]
            if inner is None and (part.get("additionalProperties") is False or "patternProperties" in part):
                found.append(f"{at}.{key}: not allowed")
            found += faults(item, inner, root, f"{at}.{key}") if inner else []
    if isinstance(value, list):
        prefix = part.get("prefixItems", [])
        for number, item in enumerate(value):
            inner = prefix[number] if number < len(prefix) else part.get("items")
            found += faults(item, inner, root, f"{at}[{number}]") if inner else []
    return found


TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
TYPES["null"] = type(None)
KEYWORDS = {
    *("type", "const", "enum", "pattern", "minimum", "maximum", "exclusiveMaximum", "maxLength"),
    *("minItems", "maxItems", "required", "properties", "additionalProperties", "patternProperties"),
    *("propertyNames", "items", "prefixItems"),
}
STRUCTURE = {"$ref", "anyOf", "oneOf", "discriminator", "title", "description", "default", "$defs", "$schema"}


def holds(keyword: str, wanted: Any, value: Any) -> bool:
    """Whether a keyword of JSON Schema holds; those that apply to inner values always do."""
    number = isinstance(value, int) and not isinstance(value, bool)
    tests: dict[str, Callable[[], bool]] = {
        "type": lambda: isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool)),
        "const": lambda: bool(value == wanted),
        "enum": lambda: value in wanted,
        "pattern": lambda: not isinstance(value, str) or re.search(wanted, value) is not None,
        "minimum": lambda: not number or value >= wanted,
        "maximum": lambda: not number or value <= wanted,
        "exclusiveMaximum": lambda: not number or value < wanted,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= wanted,
        "minItems": lambda: not isinstance(value, list) or len(value) >= wanted,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= wanted,
        "required": lambda: not isinstance(value, dict) or set(wanted) <= set(value),
        "propertyNames": lambda: not isinstance(value, dict) or not any(faults(key, wanted, {}) for key in value),
    }
    return tests.get(keyword, lambda: True)()


def test_the_golden_and_a_crafted_manifest_meet_it(tmp_path: Path) -> None:
    root = json.loads(PATH.read_text())
    crafted = small_set(tmp_path / "crafted", small_base())
    for folder in (GOLDEN, crafted):
        assert faults(json.loads((folder / "manifest.json").read_bytes()), root, root) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "poisonset/2"),
        (("surprise",), 1),
        (("seed",), -1),
        (("seed",), "7"),
        (("trials",), []),
        (("trials", 0, "trial"), True),
        (("trials", 0, "constraint", "levels"), 256),
        (("trials", 0, "slots", "bases", 0), "1"),
        (("trials", 0, "lists", "everything"), [1]),
        (("files", 0, "path"), "../README.md"),
        (("base", "splits", "train", "digest"), "0"),
    ],
)
def test_wrong_documents_break_it(path: tuple[Any, ...], value: Any) -> None:
    root = json.loads(PATH.read_text())
    document = json.loads((GOLDEN / "manifest.json").read_bytes())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert faults(document, root, root)
