"""What the demo runs: with the network of the extra `pretrained`, or with a small one trained on the spot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from poisonsets.cli import output

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.victims.networks.weights import Weights
    from poisonsets.victims.protocols import Protocol

AIMED: Final = "bullseye-polytope"


@dataclass(frozen=True)
class DemoSetting:
    """A network, and budgets and settings that suit it.

    Attributes:
        pretrained: name and input of published weights; None for the default network of the base.
        suite: of the victims, which are linear heads on the attacker's frozen network; those of `transfer` see images
            as they are.
        epsilon: the budget in levels of 255.
        poisons: a trial.
        attacks: each attack's settings, in the order of the table.
    """

    pretrained: Path | None
    suite: str
    epsilon: int
    poisons: int
    attacks: Mapping[str, Mapping[str, str]]


PRETRAINED: Final = DemoSetting(
    Path("efficientnet-lite0@input=64"),
    "transfer",
    epsilon=8,
    poisons=25,
    attacks={"feature-collision": {"steps": "40", "growth": "1.5"}, AIMED: {"steps": "100"}, "noise": {}},
)
SMALL: Final = DemoSetting(
    None,
    "digits-transfer",
    epsilon=32,
    poisons=50,
    attacks={
        "feature-collision": {"steps": "120", "learning_rate": "0.02", "growth": "1.5"},
        AIMED: {"steps": "120"},
        "noise": {},
    },
)


def installed(*, quiet: bool) -> DemoSetting:
    """The setting of the pretrained network where it is installed, else the small one, and says so."""
    from poisonsets.manifests.errors import MissingError
    from poisonsets.victims.networks.known_weights import EXTRA, KNOWN

    try:
        KNOWN["efficientnet-lite0"].path()
    except MissingError:
        output.note(
            f"no pretrained network is installed, so a small one is trained and attacked at epsilon {SMALL.epsilon}. "
            f"For poisons that the eye cannot tell, type `{EXTRA}`",
            quiet=quiet,
        )
        return SMALL
    return PRETRAINED


def network_of(setting: DemoSetting, base: Base, *, quiet: bool) -> Weights:
    """The network that is both the attacker's and the victims'; the small one is trained the first time."""
    from poisonsets.cli.output import Teller
    from poisonsets.door.networks import default_network, read_network

    if setting.pretrained is None:
        return default_network(base, "--surrogate", tell=Teller(quiet))
    return read_network(setting.pretrained)


def protocol_of(setting: DemoSetting, network: Weights) -> Protocol:
    """How the victims are trained."""
    from poisonsets.victims.protocols import of_network

    return of_network(setting.suite, network.network.spec.shape)
