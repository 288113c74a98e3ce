"""A base has one spelling, with its options after the last @, and no local path in its manifest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.fields import Name


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("nothing", {}),
        ("folder", {}),
        ("folder:", {}),
        ("cifar10:/data", {}),
        ("digits:/data", {}),
        ("folder:x", {"holdout": "0/5"}),
        ("folder:x", {"holdout": "5/5"}),
        ("folder:x", {"holdout": "6/5"}),
        ("folder:x", {"holdout": "1/0"}),
        ("folder:x", {"holdout": "-1/5"}),
        ("folder:x", {"holdout": " 1/5"}),
        ("folder:x", {"holdout": "1/\u0665"}),
        ("folder:x", {"split_seed": 1}),
        ("folder:x", {"holdout": "1/5", "split_seed": -1}),
        ("folder:x", {"resize": 0}),
        ("folder:x", {"resize": 1025}),
    ],
)
def test_specs_without_meaning_are_usage_errors(text: str, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        parse_spec(text, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("last", ["plain", "with space", "ünïcode", "-dash", "a" * 250, "semi;colon\n", "."])
def test_recorded_names_hold_no_path_and_fit_the_model(last: str) -> None:
    name = parse_spec(f"folder:/some/where/{last}").name
    assert TypeAdapter(Name).validate_python(name) == name
    assert "/" not in name


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("folder:x@holdout=1/5,holdout=1/5", "holdout is given twice"),
        ("folder:x@holdout", "'holdout' is no option"),
        ("folder:x@holdouts=1/5", "Did you mean holdout?"),
        ("folder:x@resize=1e2", "resize 1e2: not a whole number in 1..1024"),
        ("folder:x@split-seed=3", "Give holdout=1/20 too"),
        ("foldr:x", "Did you mean folder:PATH?"),
        ("cifar11", "Did you mean cifar10"),
        ("cifar10:/my data", "Type `poisonsets base add cifar10 --from '/my data'`"),
        ("digits:", "base digits takes no path. Write digits"),
        ("folder:x@me/flowers", "`poisonsets base add folder --from x@me/flowers` if the @ is the path's"),
    ],
)
def test_a_refusal_says_what_to_write(text: str, fragment: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("holdout", ["1/5", "2/10", "0.2", "20%", "20.0%"])
def test_options_have_one_spelling(tmp_path: Path, holdout: str) -> None:
    spelled = parse_spec(f"folder:{tmp_path}@split-seed=3,holdout={holdout},resize=32")
    assert spelled == parse_spec(f"folder:{tmp_path}", holdout=holdout, split_seed=3, resize=32)
    assert spelled == parse_spec(f"folder:{tmp_path}@resize=32", source=None, holdout=holdout, split_seed=3)
    assert spelled.text == f"folder:{tmp_path}@holdout=1/5,resize=32,split-seed=3"
    assert parse_spec(spelled.text) == spelled


@pytest.mark.parametrize("options", [{}, {"holdout": "1/5"}])
def test_a_path_that_holds_an_at_is_given_apart(tmp_path: Path, options: dict[str, str]) -> None:
    folder = tmp_path / "me@home"
    spec = parse_spec("folder", source=folder, **options)  # type: ignore[arg-type]
    assert (spec.path, spec.name) == (folder, "folder:me@home")
    assert parse_spec(spec.text) == spec
    with pytest.raises(UsageError, match="two paths"):
        parse_spec(f"folder:{tmp_path}", source=folder)
