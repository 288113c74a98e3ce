from __future__ import annotations

from poisonsets.manifests.spelling import nearest, unknown

KNOWN = ("resnet18", "vgg11", "MobileNet")


def test_the_nearest_name_is_found_in_any_case() -> None:
    assert nearest("resnet-18", KNOWN) == "resnet18"
    assert nearest("mobilnet", KNOWN) == "MobileNet"
    assert nearest("zzz", KNOWN) is None
    assert nearest("resnet18", ()) is None


def test_the_error_names_the_nearest_or_all_of_them() -> None:
    assert str(unknown("network", "vg11", KNOWN)) == "no network is called 'vg11'. Did you mean vgg11?"
    assert str(unknown("network", "zzz", KNOWN)) == "no network is called 'zzz'. Known: MobileNet, resnet18, vgg11"
