"""A disk that refuses any one call of a score: an error with a place, and the same rows when it goes on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from faulty import ERRORS, CountingDisk, HastyDisk, RefusingDisk, on

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import store
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.score import score_set

PROTOCOLS = (
    parse("digits-transfer/convnet@composition=in-place,epochs=1,lr_milestones=none,batch=16,width=0.25,pad=0"),
    parse("digits-scratch/convnet@composition=in-place,epochs=1,lr_milestones=none,batch=40,width=0.25,pad=0"),
)
TIMED = {"seconds", "peak_memory_bytes", "checksum"}


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Every row but for what may differ, by its name."""
    found = {path.name: json.loads(path.read_bytes()) for path in (folder / "rows").iterdir()}
    return {name: {key: row[key] for key in row.keys() - TIMED} for name, row in found.items()}


def test_any_call_of_a_score_may_be_refused(tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path) -> None:
    """Each call is refused once, with one error after the other."""
    opened = makers.set_of(makers.trial())

    def score(folder: Path) -> None:
        score_set(
            opened,
            tiny_base,
            protocols=PROTOCOLS,
            extractors=[extractor],
            results=folder / "results",
            cache=folder / "cache",
            resume=(folder / "results" / "settings.json").exists(),
            device=torch.device("cpu"),
        )

    with on(CountingDisk()) as disk:
        score(tmp_path / "whole")
    calls, whole = disk.calls, rows(tmp_path / "whole" / "results")
    assert calls > 20
    refused = 0
    for number in range(1, calls + 1):
        folder, code = tmp_path / str(number), ERRORS[number % len(ERRORS)]
        with on(RefusingDisk(number, code)) as disk:
            try:
                score(folder)
            except (MissingError, DamagedError) as error:
                refused += 1
                said = str(error)
            else:
                said = os.strerror(code)
        assert disk.reading or os.strerror(code) in said, f"call {number}: {said}"
        if folder.exists():
            assert not list(folder.rglob(f"*{store.TEMPORARY}")), f"call {number}"
        with on(HastyDisk()):
            score(folder)
        assert rows(folder / "results") == whole, f"call {number}"
        assert {path.name for path in (folder / "results").iterdir()} == {"rows", "settings.json"}
        shutil.rmtree(folder)
    assert refused > calls / 2


def test_results_in_a_read_only_folder_are_refused_before_anything_is_trained(
    tiny_base: Base, makers: Any, extractor: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    opened = makers.set_of(makers.trial())
    with pytest.raises(MissingError, match="Permission denied"):
        score_set(
            opened,
            tiny_base,
            protocols=PROTOCOLS,
            extractors=[extractor],
            results=tmp_path / "results",
            device=torch.device("cpu"),
        )
    assert not (tmp_path / "results").exists()
