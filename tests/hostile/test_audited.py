"""The audit hook itself: it notices writes outside its folder, by either end of a rename or a link."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import audited


@pytest.mark.parametrize("event", ["os.rename", "os.link", "os.symlink"])
def test_both_ends_of_a_rename_or_link_are_looked_at(tmp_path: Path, event: str) -> None:
    hook = audited.Hook(tmp_path / "scratch")
    hook.on = True
    inside, outside = str(tmp_path / "scratch" / "a"), str(tmp_path / "a")
    hook(event, (inside, inside + "b", -1, -1))
    assert hook.events == []
    for ends in ((inside, outside), (outside, inside)):
        hook(event, (*ends, -1, -1))
    assert len(hook.events) == 2


def test_a_folder_whose_name_goes_on_is_outside(tmp_path: Path) -> None:
    hook = audited.Hook(tmp_path / "scratch")
    hook.on = True
    hook("os.remove", (str(tmp_path / "scratch" / "a"), -1))
    assert hook.events == []
    hook("os.remove", (str(tmp_path / "scratch2" / "a"), -1))
    hook("open", (str(tmp_path / "scratch2" / "a"), "w", audited.WRITES))
    assert len(hook.events) == 2
