from __future__ import annotations

from fractions import Fraction

import pytest

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.spelling import nearest, parse_pairs, parse_share, unknown

KNOWN = ("resnet18", "vgg11", "MobileNet")


def test_the_nearest_name_is_found_in_any_case() -> None:
    assert nearest("resnet-18", KNOWN) == "resnet18"
    assert nearest("mobilnet", KNOWN) == "MobileNet"
    assert nearest("zzz", KNOWN) is None
    assert nearest("resnet18", ()) is None


def test_the_error_names_the_nearest_or_all_of_them() -> None:
    assert str(unknown("network", "vg11", KNOWN)) == "no network is called 'vg11'. Did you mean vgg11?"
    assert str(unknown("network", "zzz", KNOWN)) == "no network is called 'zzz'. Known: MobileNet, resnet18, vgg11"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/5", "1/5"),
        ("2/10", "1/5"),
        ("0.2", "1/5"),
        ("20%", "1/5"),
        ("12.5%", "1/8"),
        ("0", "0"),
        ("100%", "1"),
        ("1", "1"),
    ],
)
def test_a_share_is_written_in_three_ways(text: str, value: str) -> None:
    assert parse_share(text, "--rate") == Fraction(value)


@pytest.mark.parametrize(
    "text", ["", "1/0", "6/5", "1.5", "101%", "-1/5", " 1/5", "1/5 ", "1/5%", ".2", "1e-2", "nan", "1/\u0665", "1\n"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--rate .*not a share") as caught:
        parse_share(text, "--rate")
    assert "1/2, 0.5 or 50%" in caught.value.remedy


def test_pairs_are_settings_by_key() -> None:
    assert parse_pairs(["a=1", "b=", "c=x=y"], "a base") == {"a": "1", "b": "", "c": "x=y"}
    for words, fault in ((["a"], "'a' is no option"), (["=1"], "no option"), (["a=1", "a=1"], "a is given twice")):
        with pytest.raises(UsageError, match=f"a base: .*{fault}"):
            parse_pairs(words, "a base")
