"""Of an imported set nobody said what networks its attacker knew."""

from __future__ import annotations

from typing import Any

import pytest

from poisonsets.manifests.records.origin import ForeignSetup, SurrogateRecord
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import parse
from poisonsets.victims.scoring.jobs import Job


@pytest.mark.parametrize("declared", [False, True])
def test_an_imported_set_without_surrogates_has_an_unknown_threat_level(
    makers: Any, extractor: Weights, declared: bool
) -> None:
    opened = makers.set_of(makers.trial())
    spec = extractor.network.spec
    known = SurrogateRecord(digest=extractor.digest, network=spec.name, pretraining={"width": spec.width})
    manifest = opened.manifest.model_copy(
        update={"setup": ForeignSetup(name="triple: x"), "surrogates": (known,) if declared else ()}
    )
    protocol = parse(f"digits-transfer/{spec.name}@width={spec.width}")
    job = Job(opened.trials[0], protocol, extractor, 0, manifest)
    assert job.threat_level() == ("white-box" if declared else "unknown")
