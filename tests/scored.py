"""Scoring with one protocol on the CPU, and rows without what no two runs share."""

from __future__ import annotations

from typing import Any

import torch

from poisonsets.manifests.bases.dataset import Base
from poisonsets.victims.networks.weights import Weights
from poisonsets.victims.protocols import Protocol
from poisonsets.victims.scoring.score import Score, score_set


def score(opened: Any, base: Base, extractor: Weights, protocol: Protocol, **options: Any) -> Score:
    """Score a set with one protocol; from scratch there is no use for the extractor."""
    extractors = [] if protocol.training == "scratch" else [extractor]
    device = torch.device("cpu")
    return score_set(opened, base, protocols=[protocol], extractors=extractors, device=device, **options)


def timeless(result: Score) -> list[dict[str, Any]]:
    """The rows without time and memory."""
    return [row.model_dump(exclude={"seconds", "peak_memory_bytes"}) for row in result.rows]
