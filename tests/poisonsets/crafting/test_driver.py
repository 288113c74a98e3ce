"""Requests become sets: what is refused, what a set records of its making, and which request goes on with which."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forge import check as verified
from forge import noise_request, small_base

from poisonsets import attacks, registry
from poisonsets.cli.main import run
from poisonsets.crafting.driver import CraftSummary, craft_set
from poisonsets.crafting.request import CraftRequest
from poisonsets.interface import Attack, Context, Crafted, Task
from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import DamagedError, MissingError, UsageError, ViolationError
from poisonsets.manifests.records.origin import DrawnSetup
from poisonsets.manifests.records.trial import L2, Linf
from poisonsets.manifests.sets import writer
from poisonsets.manifests.sets.reader import open_set
from poisonsets.registry import Traits
from poisonsets.settings import record_settings
from poisonsets.surrogates import Surrogates
from poisonsets.victims.networks.weights import Weights

BASE = small_base()


def feature_request(
    weights: tuple[Weights, ...], *, pool: bool = False, trials: int = 3, steps: str = "3"
) -> CraftRequest:
    entry = attacks.find("bullseye-polytope")
    settings = entry.settings({"steps": steps})
    request = noise_request(BASE, trials=trials)
    return replace(request, attack=entry, settings=settings, surrogates=Surrogates(weights, pool=pool))


def broken_request(*bad: int, trials: int = 3) -> CraftRequest:
    """An attack that gives NaN for some of the trials of its only block."""

    def factory() -> Attack:
        """Break."""

        def craft(task: Task, context: Context) -> Crafted:
            images = task.bases.clone()
            images[list(bad)] = torch.nan
            return Crafted(images)

        return craft

    registry.attack("broken", version=1, traits=Traits(), source="none: a test")(factory)
    return replace(noise_request(BASE, trials=trials), attack=attacks.find("broken"))


# --- refused trials --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("open_registry")
def test_a_refused_trial_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    done = craft_set(tmp_path / "set", broken_request(1))
    assert done.refused == ((1, "the attack gave values that are not finite"),)
    opened = open_set(tmp_path / "set")
    assert [trial.number for trial in opened.trials] == [0, 2]
    assert done == CraftSummary(opened.manifest.content_digest, 2, 0, done.refused)
    assert verified(tmp_path / "set", BASE).clean


@pytest.mark.usefixtures("open_registry")
def test_where_every_trial_is_refused_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ViolationError, match=r"every trial was refused .the attack gave values that are not finite"):
        craft_set(tmp_path / "set", broken_request(0, 1, 2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("open_registry")
def test_the_command_says_which_trial_was_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_request(1)
    monkeypatch.setenv("POISONSETS_CACHE", str(cache))
    text, notes = io.StringIO(), io.StringIO()
    craft = ("craft", "broken", "--base", "digits", "--trials", "4-6", "--poisons", "2", "--json")
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(notes):
        assert run([*craft, "-o", str(tmp_path / "set")]) == 1
    assert notes.getvalue() == "trial 5 was refused: the attack gave values that are not finite\n"
    assert json.loads(text.getvalue())["refused"] == [
        {"trial": 5, "reason": "the attack gave values that are not finite"}
    ]


# --- refused requests ------------------------------------------------------------------------------------------


def of_another_class(request: CraftRequest) -> CraftRequest:
    """The second trial takes one base of another class."""
    first, second = request.plans
    stranger = int(np.flatnonzero(BASE.train.labels != second.adversarial_label)[0])
    return replace(request, plans=(first, replace(second, bases=(*second.bases[:-1], stranger))))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda request: replace(request, plans=()), "no trials to craft. Give --trials"),
        (lambda request: replace(request, plans=request.plans[::-1]), r"trials \[1, 0\] are not in ascending order"),
        (lambda request: replace(request, plans=request.plans[:1] * 2), r"trials \[0, 0\] are not in ascending order"),
        (lambda request: replace(request, attack=attacks.find("fc")), "feature-collision needs a surrogate network"),
        (of_another_class, r"trial 1: noise keeps clean labels, but its bases are of classes \[.*, .*\]"),
    ],
    ids=["empty", "descending", "twice", "no network", "another class"],
)
def test_a_request_without_meaning_is_refused_before_anything_is_written(
    tmp_path: Path, spoil: Callable[[CraftRequest], CraftRequest], complaint: str
) -> None:
    with pytest.raises((UsageError, MissingError), match=complaint):
        craft_set(tmp_path / "set", spoil(noise_request(BASE)))
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    craft_set(tmp_path / "set", noise_request(BASE))
    before = (tmp_path / "set" / "manifest.json").read_bytes()
    with pytest.raises(MissingError, match="set"):
        craft_set(tmp_path / "set", noise_request(BASE))
    assert (tmp_path / "set" / "manifest.json").read_bytes() == before


# --- what a set records ----------------------------------------------------------------------------------------


def test_the_manifest_says_how_the_set_was_made(tmp_path: Path, tiny_weights: tuple[Weights, ...]) -> None:
    craft_set(tmp_path / "set", feature_request(tiny_weights[:2]))
    manifest = open_set(tmp_path / "set").manifest
    entry = attacks.find("bullseye-polytope")
    assert (manifest.attack.name, manifest.attack.version) == (entry.name, entry.version)
    assert manifest.attack.settings == {**record_settings(entry.defaults()), "steps": 3}
    assert (manifest.seed, manifest.name) == (3, "small noise")
    assert manifest.setup == DrawnSetup(seed=3, poisons=4)
    assert manifest.base == BASE.pin()
    assert [one.digest for one in manifest.surrogates] == [one.digest for one in tiny_weights[:2]]
    assert all(one.trials is None and one.network == "convnet" for one in manifest.surrogates)
    pretraining = {"width": "0.25", "classes": (0, 1), "epochs": 0, "lr_milestones": (1, 2), "seed": 1}
    assert manifest.surrogates[1].pretraining == pretraining
    assert torch.__version__.startswith(manifest.libraries["torch"])  # which names the build too
    for trial in manifest.trials:
        assert trial.constraint == Linf(levels=8)
        assert trial.outcome is not None
        assert (trial.outcome.moved, len(trial.outcome.objective)) == (4, 4)
        assert float(trial.outcome.objective[-1]) < float(trial.outcome.objective[0])


def test_a_pool_records_which_trial_drew_which_network(tmp_path: Path, tiny_weights: tuple[Weights, ...]) -> None:
    request = feature_request(tiny_weights, pool=True, trials=8)
    craft_set(tmp_path / "set", request)
    records = open_set(tmp_path / "set").manifest.surrogates
    assert [one.digest for one in records] == [one.digest for one in tiny_weights]
    drawn = [(trial, i) for i, one in enumerate(records) for trial in one.trials or ()]
    assert sorted(trial for trial, _ in drawn) == list(range(8))
    assert all(request.surrogates.of_trial(trial, request.seed) == (i,) for trial, i in drawn)
    alone = replace(request, plans=request.plans[:1], surrogates=Surrogates((tiny_weights[dict(drawn)[0]],)))
    craft_set(tmp_path / "alone", alone)
    both = (open_set(tmp_path / name).manifest.trials[0] for name in ("set", "alone"))
    assert len({trial.outcome.objective for trial in both if trial.outcome}) == 1


def test_a_long_objective_is_thinned_to_its_ends_and_between(tmp_path: Path, tiny_weights: tuple[Weights, ...]) -> None:
    craft_set(tmp_path / "long", feature_request(tiny_weights[:1], steps="50", trials=1))
    (trial,) = open_set(tmp_path / "long").manifest.trials
    assert trial.outcome is not None
    curve = [float(value) for value in trial.outcome.objective]
    assert len(curve) == 21
    assert curve[0] == max(curve)


# --- resuming --------------------------------------------------------------------------------------------------


def interrupted(folder: Path, request: CraftRequest) -> None:
    """Craft a set up to the point where it would be published."""

    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer.SetWriter, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            craft_set(folder, request)


def negative() -> Base:
    """The base with the same labels under other pixels."""
    return replace(BASE, train=Split(255 - BASE.train.images, BASE.train.labels))


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, tiny_weights: tuple[Weights, ...]) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "set"
    interrupted(folder, feature_request(tiny_weights[:2]))
    assert not folder.exists()
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_weights: tuple[Weights, ...]) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "finished"
    craft_set(folder, feature_request(tiny_weights[:2]))
    return folder


Other = Callable[[CraftRequest, tuple[Weights, ...]], CraftRequest]
OTHERS: dict[str, tuple[Other, str]] = {
    "name": (lambda request, _: replace(request, name="another"), "name is small noise, now another"),
    "seed": (lambda request, _: replace(request, seed=4), "seed is 3, now 4"),
    "settings": (
        lambda request, _: replace(request, settings={**request.settings, "steps": 4}),
        "attack settings steps is 3, now 4",
    ),
    "attack": (
        lambda request, _: replace(request, attack=attacks.find("noise"), settings={}, surrogates=Surrogates()),
        "attack name is bullseye-polytope, now noise",
    ),
    "version": (
        lambda request, _: replace(request, attack=replace(request.attack, version=99)),
        "attack version is 3, now 99",
    ),
    "levels": (lambda request, _: replace(request, budget=Linf(levels=9)), "budget levels is 8, now 9"),
    "norm": (lambda request, _: replace(request, budget=L2(squared_levels=64)), "budget norm is linf, now l2"),
    "composition": (lambda request, _: replace(request, composition="add"), "composition is in-place, now add"),
    "trials": (lambda request, _: replace(request, plans=request.plans[:2]), r"trials is \[0, 1, 2\], now \[0, 1\]"),
    "setup": (
        lambda request, _: replace(request, setup=DrawnSetup(seed=4, poisons=4)),
        "setup seed is 3, now 4",
    ),
    "base": (lambda request, _: replace(request, base=negative()), "base splits train digest is "),
    "fewer networks": (lambda request, all_: replace(request, surrogates=Surrogates(all_[:1])), "surrogates is "),
    "order of networks": (lambda request, all_: replace(request, surrogates=Surrogates(all_[1::-1])), "surrogates is "),
    "pool": (
        lambda request, all_: replace(request, surrogates=Surrogates(all_[:2], pool=True)),
        "(pool is False, now True|surrogates is )",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_cannot_go_on_with_a_set_and_hears_what_differs(
    unfinished: Path, finished: Path, tiny_weights: tuple[Weights, ...], other: str
) -> None:
    change, says = OTHERS[other]
    request = change(feature_request(tiny_weights[:2]), tiny_weights)
    for folder in (unfinished, finished):
        with pytest.raises(MissingError, match=rf"made by another command \({says}"):
            craft_set(folder, request, resume=True)
    assert not unfinished.exists()
    assert craft_set(finished, feature_request(tiny_weights[:2]), resume=True).taken_over == 3


def test_the_same_request_goes_on_to_the_same_set(tmp_path: Path, tiny_weights: tuple[Weights, ...]) -> None:
    request = feature_request(tiny_weights[:2])
    whole = craft_set(tmp_path / "whole", request)
    interrupted(tmp_path / "set", request)
    with pytest.raises(MissingError, match="Add --resume"):
        craft_set(tmp_path / "set", request)
    done = craft_set(tmp_path / "set", request, resume=True)
    assert done == replace(whole, taken_over=3)
    assert verified(tmp_path / "set", BASE).clean


def test_a_trial_does_not_change_with_the_trials_asked_for_beside_it(tmp_path: Path) -> None:
    request = noise_request(BASE, trials=4)
    craft_set(tmp_path / "all", request)
    craft_set(tmp_path / "some", replace(request, plans=request.plans[2:]))
    every, some = open_set(tmp_path / "all"), open_set(tmp_path / "some")
    assert [trial.number for trial in some.trials] == [2, 3]
    assert [trial.record for trial in some.trials] == [every.trial(number).record for number in (2, 3)]


def test_an_attack_that_raises_is_refused_by_name(tmp_path: Path, open_registry: None) -> None:
    @registry.attack("raising", version=1, traits=Traits(batched=False), source="none: a test")
    def raising() -> Attack:
        """Raise for every trial but the second."""

        def craft(task: Task, context: Context) -> Crafted:
            del context
            if int(task.adversarial_labels[0]) == bad:
                raise RuntimeError("mat1 and mat2")
            return Crafted(task.bases)

        return craft

    base = small_base()
    request = noise_request(base, trials=6)
    bad = request.plans[0].adversarial_label
    done = craft_set(tmp_path / "set", replace(request, attack=attacks.find("raising")))
    refused = [plan.trial for plan in request.plans if plan.adversarial_label == bad]
    assert [number for number, _ in done.refused] == refused
    assert all("the attack raised RuntimeError: mat1 and mat2" in reason for _, reason in done.refused)
    assert done.trials == 6 - len(refused) > 0


def refusing_request(kind: type[Exception], trials: int = 3) -> CraftRequest:
    """A request whose attack raises for the second trial."""

    @registry.attack("failing", version=1, traits=Traits(batched=False), source="none: a test")
    def failing() -> Attack:
        """Raise for the second trial."""
        seen: list[int] = []

        def craft(task: Task, context: Context) -> Crafted:
            seen.append(int(context.generators[0].initial_seed()))
            if len(seen) == 2:
                raise kind("DefaultCPUAllocator: not enough memory" if kind is RuntimeError else "failed")
            return Crafted(task.bases)

        return craft

    return replace(noise_request(BASE, trials=trials), attack=attacks.find("failing"))


@pytest.mark.usefixtures("open_registry")
@pytest.mark.parametrize("kind", [MemoryError, OSError, RuntimeError])
def test_a_failing_machine_stops_the_run_and_shrinks_no_set(tmp_path: Path, kind: type[Exception]) -> None:
    with pytest.raises((MissingError, OSError)):
        craft_set(tmp_path / "set", refusing_request(kind))
    assert not (tmp_path / "set").exists()
    assert (tmp_path / "set.partial").exists()


@pytest.mark.usefixtures("open_registry")
def test_a_set_with_a_refused_trial_is_finished_and_says_so_again(tmp_path: Path) -> None:
    request = refusing_request(ValueError)
    done = craft_set(tmp_path / "set", request)
    again = craft_set(tmp_path / "set", request, resume=True)
    assert [number for number, _ in again.refused] == [number for number, _ in done.refused] == [1]
    assert again.content_digest == done.content_digest
    (tmp_path / "set" / "poisons" / "trial-00000-000.tar").unlink()
    with pytest.raises(DamagedError, match="trial-00000-000"):
        craft_set(tmp_path / "set", request, resume=True)


def test_nothing_is_written_into_a_set(tmp_path: Path) -> None:
    craft_set(tmp_path / "set", noise_request(BASE))
    with pytest.raises(MissingError, match="inside the poison set"):
        craft_set(tmp_path / "set" / "inner", noise_request(BASE))
    assert verified(tmp_path / "set", BASE).clean
    with pytest.raises(MissingError, match="unfinished sets"):
        craft_set(tmp_path / "other.partial", noise_request(BASE))
