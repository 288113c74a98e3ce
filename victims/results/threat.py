"""What the attacker knew of a victim's extractor, computed from digests of the surrogates that the set declares."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from poisonsets.manifests.records.origin import SurrogateRecord
from poisonsets.victims.networks.weights import Weights

ThreatLevel: TypeAlias = Literal["white-box", "grey-box", "black-box", "unknown"]


def threat_level(
    extractor: Weights | None,
    shape: tuple[str, str],
    surrogates: Sequence[SurrogateRecord] | None,
    trial: int | None = None,
) -> ThreatLevel:
    """How a set's surrogates relate to a victim's extractor.

    Args:
        extractor: the victim's; None from scratch, where nobody can know the weights beforehand.
        shape: the victim's network and width.
        surrogates: the manifest's; None of a training set without one.
        trial: count only the surrogates this trial was crafted with; all where left out.

    Returns:
        `white-box` where the extractor is a surrogate by digest; `grey-box` where a surrogate has its network and width
        but other weights, else `black-box`; `unknown` where nothing was declared.
    """
    if surrogates is None:
        return "unknown"
    used = [s for s in surrogates if trial is None or s.trials is None or trial in s.trials]
    if extractor is not None and any(surrogate.digest == extractor.digest for surrogate in used):
        return "white-box"
    same = any((surrogate.network, surrogate.pretraining.get("width", "1")) == shape for surrogate in used)
    return "grey-box" if same else "black-box"
