"""What `import` says of many false trials: each by its number, though the report holds the first findings only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from triples import picture, triple

from poisonsets.manifests.bases.dataset import Base

if TYPE_CHECKING:
    from conftest import Cli


def test_every_bad_trial_is_named(cli: Cli, here: Path, digits: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poisonsets.manifests.limits.FINDINGS_KEPT", 4)
    bases = np.flatnonzero(digits.train.labels == 6)[:3].tolist()
    target = (picture(digits.test.images[int(np.flatnonzero(digits.test.labels == 8)[0])]), 8)
    for number in range(12):
        images = digits.train.images[bases] if number == 5 else 255 - digits.train.images[bases]
        triple(
            here / "all" / str(number), digits, bases=bases, poisons=[(picture(i), 6) for i in images], target=target
        )
    done = cli("import", "triple", "all", "--base", "digits", "-o", "set")
    assert (done.code, done.err) == (1, "")
    assert "V301 trial 0 slot 0: pixel" in done.out
    assert "(and 29 more V301, in trials 0-4,6-11)" in done.out
