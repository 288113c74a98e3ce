"""From options to trials: the attack's traits decide what is drawn, and options that make no sense are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from forge import small_base

from poisonsets import attacks
from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, budget_of, craft_request, drawn_setup, plan_trials
from poisonsets.crafting.request import CompositionRule, CraftRequest
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.origin import DrawnSetup, FileSetup
from poisonsets.manifests.records.trial import Linf, Unconstrained
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.verification.verify import verify
from poisonsets.registry import Traits

BASE = small_base(classes=4, each=20)


def setup_of(name: str, asked: Draw = Draw(), composition: CompositionRule = "in-place") -> DrawnSetup:
    return drawn_setup(BASE, attacks.find(name).traits, seed=1, asked=asked, composition=composition)


def test_traits_decide_what_is_drawn() -> None:
    assert setup_of("bullseye-polytope") == DrawnSetup(seed=1, poisons=25)
    assert setup_of("label-flip", Draw(poisons=3)) == DrawnSetup(seed=1, poisons=3, bases_from="source")
    assert setup_of("hidden-trigger-backdoor") == DrawnSetup(seed=1, poisons=25, backdoor=True)
    dirty = DrawnSetup(
        seed=1, rate="1/10", backdoor=True, bases_from="source", source_classes=BASE.victim_classes, supplant=True
    )
    assert setup_of("patch-backdoor", Draw(rate="1/10"), "supplant") == dirty
    assert setup_of("patch-backdoor", Draw(source_classes=(2,))).source_classes == (2,)
    assert setup_of("patch-backdoor", Draw(class_pair=(1, 2))).source_classes == ()


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (Draw(poisons=3, rate="1/2"), "--poisons and --rate exclude each other"),
        (Draw(candidates=3, rate="1/2"), "candidates are drawn for a number of poisons"),
        (Draw(candidates=3, poisons=4), "at least as many"),
        (Draw(targets=5000), "targets"),
    ],
)
def test_options_that_make_no_sense_are_refused(asked: Draw, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        setup_of("noise", asked)


def test_a_setup_fixes_the_trials(tmp_path: Path) -> None:
    index = int(np.flatnonzero(BASE.test.labels == 1)[0])
    bases = np.flatnonzero(BASE.train.labels == 2)[:3].tolist()
    trial = {"target_index": index, "target_class": 1, "base_class": 2, "base_indices": bases}
    (tmp_path / "setup.json").write_text(json.dumps({"format": "poisonset-setups/1", "trials": [trial] * 2}))

    def plans(name: str, asked: Draw = Draw(), composition: CompositionRule = "in-place") -> tuple[object, ...]:
        entry = attacks.find(name)
        setup = str(tmp_path / "setup.json")
        return plan_trials(BASE, entry, setup=setup, trials=None, seed=0, asked=asked, composition=composition)

    record, found = plans("noise")
    assert isinstance(record, FileSetup)
    assert [plan.source_classes for plan in found] == [(), ()]  # type: ignore[attr-defined]
    _, found = plans("hidden-trigger-backdoor")
    assert [plan.source_classes for plan in found] == [(1,), (1,)]  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="--setup fixes the trials"):
        plans("noise", Draw(poisons=3))
    with pytest.raises(UsageError, match="no images to supplant"):
        plans("noise", Draw(), "supplant")


def test_the_budget_follows_the_attack_and_its_setting() -> None:
    clbd, patch, noise = (attacks.find(name) for name in ("clean-label-backdoor", "patch-backdoor", "noise"))
    assert budget_of(noise, {}, 8) == Linf(levels=8)
    assert budget_of(noise, {}, None) == Unconstrained()
    assert budget_of(patch, {}, 8) == Unconstrained()
    assert budget_of(clbd, {"trigger_in_budget": True}, 8) == Linf(levels=8)
    assert budget_of(clbd, {"trigger_in_budget": False}, 8) == Linf(levels=8, exempt_trigger=True)


def request_of(base: Base, name: str, composition: CompositionRule, asked: Draw) -> CraftRequest:
    trigger = "patch,size=3" if "trigger" in attacks.find(name).traits.needs else None
    return craft_request(name, base, trials=range(3), seed=5, asked=asked, composition=composition, trigger=trigger)


@pytest.mark.parametrize("composition", ["in-place", "add", "supplant"])
@pytest.mark.parametrize("name", ["noise", "watermark", "label-flip", "patch-backdoor"])
def test_every_composition_verifies(tmp_path: Path, name: str, composition: CompositionRule) -> None:
    craft_set(tmp_path / "set", request_of(BASE, name, composition, Draw(poisons=6)))
    report = verify(tmp_path / "set", lambda pin: BASE)
    assert [finding.message for finding in report.findings] == []
    opened = open_set(tmp_path / "set")
    for trial in opened.trials:
        record = trial.record
        data = trial.training_set(BASE)
        grows = {"in-place": 0, "add": 6, "supplant": 0}[composition]
        assert len(data.labels) == len(BASE.train.labels) + grows
        if record.labels == "adversarial":
            assert record.adversarial_label not in BASE.train.labels[list(record.slots.bases)]
        if composition == "supplant":
            assert (data.labels == record.adversarial_label).sum() == (
                (BASE.train.labels == record.adversarial_label).sum()
                - (6 if record.labels == "clean" else 0)
                + (6 if record.labels == "clean" else 0)
            )


def test_a_patch_backdoor_stamps_its_poisons_and_its_targets(tmp_path: Path) -> None:
    request = request_of(BASE, "patch-backdoor", "supplant", Draw(rate="1/4"))
    craft_set(tmp_path / "set", request)
    opened = open_set(tmp_path / "set")
    assert request.trigger is not None
    picture = request.trigger[0].image
    for trial in opened.trials:
        assert trial.record.source_classes == tuple(c for c in range(4) if c != trial.record.adversarial_label)
        images, labels = trial.poisons()
        assert len(images) == 5
        assert set(labels.tolist()) == {trial.record.adversarial_label}
        for image in (*images, *trial.target_images(BASE)):
            assert np.array_equal(image[-3:, -3:], picture)


def test_traits_say_who_the_attacker_is() -> None:
    assert Traits().threat_model == "triggerless, clean labels; knows no network"
    every = {entry.name: entry.traits.threat_model for entry in attacks.attacks().values()}
    assert every["patch-backdoor"] == "backdoor, changed labels; knows no network"
    assert "a robust classifier" in every["clean-label-backdoor"]
