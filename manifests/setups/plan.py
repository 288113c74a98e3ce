"""What a trial is before any poison exists: its target, its bases and the label the attacker wants."""

from __future__ import annotations

from dataclasses import dataclass

from poisonsets.manifests.model import SplitTarget


@dataclass(frozen=True)
class Plan:
    """One independent attack, decided but not crafted.

    Attributes:
        trial: its number, 0-based.
        targets: images of a pinned split, with their true labels.
        adversarial_label: the label the victim shall give the targets.
        bases: indices into the training split, one a slot; an index may stand twice.
    """

    trial: int
    targets: tuple[SplitTarget, ...]
    adversarial_label: int
    bases: tuple[int, ...]
