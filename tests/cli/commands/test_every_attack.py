"""Every attack through the command line: it crafts on digits, the set verifies, and twice gives one digest.

The networks are a quarter wide and trained for one epoch: this is about the parts fitting together. What an attack
needs and does not get is refused before work starts, with the line that helps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from poisonsets import attacks
from poisonsets.door.networks import role_of
from poisonsets.manifests.bases.cache import open_base
from poisonsets.manifests.bases.dataset import Split
from poisonsets.manifests.records.trial import Unconstrained
from poisonsets.manifests.sets.reader import open_set
from poisonsets.victims.training.pretrain import cached_weights
from poisonsets.victims.training.pretraining import Pretraining

Cli = Callable[..., Any]
QUICK = {"steps": "4", "restarts": "1", "retraining": "1", "sources": "8"}
ATTACKS = attacks.attacks()


@pytest.fixture(scope="session")
def networks(cache: Path) -> dict[str, Path]:
    """A network for each role, by role."""
    base = open_base("digits", cache=cache)
    small = {"network": "convnet", "epochs": 1, "width": "0.25", "batch": 32}
    pretrainings = {
        "features": Pretraining(**small, classes=(0, 1, 2, 3, 4)),
        "classifier": Pretraining(**small, classes=(5, 6, 7, 8, 9)),
        "robust": Pretraining(**small, classes=(5, 6, 7, 8, 9), adversary=8, adversary_steps=1, adversary_step="8"),
    }
    device = torch.device("cpu")
    return {
        role: cached_weights(pretraining, base, cache, device=device).path for role, pretraining in pretrainings.items()
    }


def command(attack: str, networks: dict[str, Path], *more: str) -> tuple[str, ...]:
    """The arguments that craft two small trials of an attack."""
    entry = ATTACKS[attack]
    settings = [f"--set={key}={value}" for key, value in QUICK.items() if key in entry.defaults()]
    role = role_of(entry)
    given = [] if role is None else ["--surrogate", str(networks[role])]
    return ("craft", attack, "--base", "digits", "--trials", "0-1", "--poisons", "5", *settings, *given, *more)


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_crafts_and_verifies_and_crafts_the_same_again(cli: Cli, networks: dict[str, Path], attack: str) -> None:
    first = cli(*command(attack, networks, "-o", "one", "--json")).document()
    assert first["trials"] == 2
    # New processes cost seconds each, so one attack shows for all that they change nothing.
    workers = "2" if attack == "gradient-matching" else "1"
    again = cli(*command(attack, networks, "-o", "two", "--workers", workers, "--json")).document()
    assert again["content_digest"] == first["content_digest"]
    done = cli("verify", "one")
    assert done.code == 0, done.out
    manifest = open_set("one").manifest
    entry = ATTACKS[attack]
    assert set(manifest.attack.settings) == set(entry.defaults())
    for trial in manifest.trials:
        assert trial.labels == entry.traits.labels
        assert (trial.trigger is None) == ("trigger" not in entry.traits.needs)
        assert bool(trial.source_classes) == ("trigger" in entry.traits.needs)
        assert isinstance(trial.constraint, Unconstrained) == (not entry.traits.constrained)
        assert trial.outcome is not None
        assert bool(trial.outcome.objective) == (entry.traits.objective != "none")


def test_the_trigger_may_be_exempt_from_the_budget(cli: Cli, networks: dict[str, Path]) -> None:
    craft = command("clean-label-backdoor", networks, "--set", "trigger_in_budget=false", "-o", "set")
    assert cli(*craft).code == 0
    done = cli("verify", "set")
    assert done.code == 0
    assert "leaves out the pixels under the trigger" in done.out
    opened = open_set("set")
    trigger = opened.trials[0].trigger()
    assert trigger is not None
    assert trigger.image is not None
    images, _ = opened.trials[0].poisons()
    assert all((image[-5:, -5:] == trigger.image).all() for image in images)


def test_surrogates_can_be_put_into_the_set(cli: Cli, networks: dict[str, Path]) -> None:
    assert cli(*command("bullseye-polytope", networks, "--include-surrogates", "-o", "set")).code == 0
    (record,) = open_set("set").manifest.surrogates
    assert record.included
    inside = Path("set") / "surrogates" / f"{record.digest}.safetensors"
    assert inside.read_bytes() == networks["features"].read_bytes()
    assert cli("verify", "set").code == 0
    assert cli(*command("feature-collision", {"features": inside}, "-o", "next")).code == 0


def test_precision_is_recorded_and_changes_the_poisons(cli: Cli, networks: dict[str, Path]) -> None:
    exact = cli(*command("bullseye-polytope", networks, "-o", "exact", "--json")).document()
    fast = cli(*command("bullseye-polytope", networks, "--precision", "bf16", "-o", "fast", "--json")).document()
    assert exact["content_digest"] != fast["content_digest"]
    assert open_set("exact").manifest.attack.precision == "fp32"
    assert open_set("fast").manifest.attack.precision == "bf16"
    assert cli("verify", "fast").code == 0


def test_candidates_are_chosen_among(cli: Cli, networks: dict[str, Path]) -> None:
    assert cli(*command("sleeper-agent", networks, "--candidates", "12", "-o", "set")).code == 0
    assert cli("verify", "set").code == 0
    manifest = open_set("set").manifest
    assert all(len(trial.slots.bases) == 5 for trial in manifest.trials)
    assert getattr(manifest.setup, "candidates", None) == 12


def test_settings_files_and_set_meet(cli: Cli, networks: dict[str, Path], here: Path) -> None:
    (here / "mine.toml").write_text("[bullseye-polytope]\nsteps = 3\nlearning_rate = 0.5\n")
    given = ("--surrogate", networks["features"], "--preset", "mine.toml", "--set", "steps=2", "-o", "set")
    assert cli("craft", "BP", "--base", "digits", "--trials", "0", "--poisons", "3", *given).code == 0
    settings = open_set("set").manifest.attack.settings
    assert (settings["steps"], settings["learning_rate"]) == (2, "0.5")


CRAFT = ("--base", "digits", "--trials", "0", "--poisons", "4", "-o", "set")
REFUSED = {
    "features where a classifier is needed": (
        ("craft", "gradient-matching", *CRAFT, "--surrogate", "features"),
        2,
        "knows classes 0,1,2,3,4, but gradient-matching also needs class",
    ),
    "a plain network where a robust one is needed": (
        ("craft", "CLBD", *CRAFT, "--surrogate", "classifier"),
        2,
        "--adversarial -o weights.safetensors`",
    ),
    "a network where none is used": (("craft", "watermark", *CRAFT, "--surrogate", "features"), 2, "uses no network"),
    "a trigger where none is used": (("craft", "noise", *CRAFT, "--trigger", "patch"), 2, "uses no trigger"),
    "a trigger that does not fit": (
        ("craft", "patch-backdoor", *CRAFT, "--trigger", "patch,size=40"),
        2,
        "trigger patch",
    ),
    "an unknown trigger": (("craft", "patch-backdoor", *CRAFT, "--trigger", "pach"), 2, "Did you mean patch?"),
    "an exempt sine": (
        (*("craft", "CLBD", *CRAFT, "--surrogate", "robust"), "--trigger", "sine", "--set", "trigger_in_budget=false"),
        2,
        "cannot be exempt from the budget",
    ),
    "candidates where nothing is chosen": (
        ("craft", "noise", *CRAFT, "--candidates", "9"),
        2,
        "does not select among candidates",
    ),
    "more poisons than the class has": (
        ("craft", "noise", "--base", "digits", "--poisons", "999", "-o", "set"),
        2,
        "999 poisons cannot be drawn",
    ),
    "no such settings": (("craft", "noise", *CRAFT, "--preset", "fast"), 2, "published, augmented, digits"),
    "no such precision": (
        ("craft", "noise", *CRAFT, "--precision", "fp16"),
        2,
        "'fp16' is not one of 'fp32', 'tf32', 'bf16'",
    ),
    "the precision of a GPU": (
        ("craft", "noise", *CRAFT, "--precision", "tf32", "--device", "cpu"),
        2,
        "no tf32 on device cpu",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_missing_is_said_before_work_starts(
    cli: Cli, networks: dict[str, Path], here: Path, case: tuple[tuple[str, ...], int, str]
) -> None:
    arguments, code, fragment = case
    given = [str(networks[word]) if word in networks else word for word in arguments]
    cli(*given).refused(code, fragment)
    assert not (here / "set").exists()
    assert not (here / "set.partial").exists()


def test_a_classifier_of_another_base_is_refused(cli: Cli, networks: dict[str, Path], cache: Path, here: Path) -> None:
    """Its class numbers would mean other things; a feature extractor may come from anywhere."""
    base = open_base("digits", cache=cache)
    other = replace(base, train=Split(255 - base.train.images, base.train.labels))
    pretraining = Pretraining("convnet", (5, 6, 7, 8, 9), epochs=1, width="0.25", batch=32)
    file = cached_weights(pretraining, other, here, device=torch.device("cpu")).path
    craft = ("--base", "digits", "--trials", "0", "--poisons", "4", "--surrogate", file)
    cli("craft", "WiB", *craft, "-o", "set").refused(2, "trained on another base")
    assert cli("craft", "BP", *craft, "--set", "steps=1", "-o", "set").code == 0


@pytest.mark.parametrize(
    ("asked", "caveat"),
    [(("--candidates", "12"), "5 of 12 candidates"), (("--trials", "1"), "chosen for their outcome")],
)
def test_what_the_draw_cannot_prove_is_said(
    cli: Cli, networks: dict[str, Path], asked: tuple[str, ...], caveat: str
) -> None:
    assert cli(*command("sleeper-agent", networks, *asked, "-o", "set")).code == 0
    assert caveat in cli("verify", "set").out.partition("not checked: ")[2]


def test_robust_networks_of_other_classes_cannot_be_joined(cli: Cli, networks: dict[str, Path], cache: Path) -> None:
    base = open_base("digits", cache=cache)
    adversary = {"adversary": 8, "adversary_steps": 1, "adversary_step": "8"}
    pretraining = Pretraining("convnet", (9, 8, 7, 6, 5), epochs=1, width="0.25", batch=32, **adversary)
    other = cached_weights(pretraining, base, cache, device=torch.device("cpu")).path
    craft = ("craft", "CLBD", "--base", "digits", "--trials", "0", "--poisons", "4", "-o", "set")
    cli(*craft, "--surrogate", networks["robust"], "--surrogate", other).refused(2, "cannot be averaged")
