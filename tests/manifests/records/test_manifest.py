"""The model of the manifest accepts everything the format can say, and refuses everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from poisonsets.manifests.records.manifest import Manifest

GOLDEN = Path(__file__).parents[2] / "golden" / "poisonset-1" / "manifest.json"
DIGEST = "ab" * 32
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_bytes())
    return loaded


def validated(document: dict[str, Any]) -> dict[str, Any]:
    """A document read by the model and written out again."""
    return Manifest.model_validate_json(json.dumps(document)).model_dump(mode="json")


def trial(**fields: Any) -> Edit:
    return lambda document: document["trials"][0].update(fields)


def top(**fields: Any) -> Edit:
    return lambda document: document.update(fields)


def base(**fields: Any) -> Edit:
    return lambda document: document["base"].update(fields)


def trigger(**record: Any) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        document["triggers"]["other"] = record
        document["trials"][0]["trigger"] = "other"
        pictures = [record[key] for key in ("image", "mask") if record.get(key)]
        document["trigger_pixels"].update(dict.fromkeys(pictures, "0" * 64))

    return edit


EXEMPT = {"norm": "linf", "levels": 16, "exempt_trigger": True}
FIXED = {"rule": "fixed", "row": 22, "column": 22}
RANDOM = {"rule": "random", "seed": 3}
SURROGATE = {
    "digest": DIGEST,
    "network": "resnet18",
    "pretraining": {"width": "0.25", "classes": [0, 1], "flip": True, "lr_milestones": []},
    "included": True,
    "trials": [0],
}
PLUGIN = {"kind": "attack", "name": "theirs", "package": "their-package", "version": "1!2.0"}
SPLIT_TARGET = {"kind": "split", "split": "test", "index": 6, "label": 0, "adversarial_label": None}
FILE_TARGET = {"kind": "file", "key": "00000-00000000", "label": 0, "adversarial_label": None, "pixels": DIGEST}
STRIPES = {"kind": "sine", "amplitude": "0.4", "frequency": "5.6", "alpha": "0.1"}
BLEND = {"kind": "blend", "image": "triggers/t.png", "alpha": "0.5", "place": FIXED}
BY_RATE = {"kind": "drawn", "seed": 0, "poisons": None, "rate": "1/10", "candidates": None, "targets": 1}
BY_RATE |= {"class_pair": [6, 0], "source_classes": [0], "backdoor": True, "bases_from": "source", "supplant": True}


def covered(*slots: int) -> Edit:
    return lambda document: document["trials"][0]["slots"].update(cover=list(slots))


def with_triggers(tested_with: str, trained_with: str | None) -> Edit:
    """Trial 0 has these triggers; `other` and `cross` are declared."""

    def edit(document: dict[str, Any]) -> None:
        trigger(**STRIPES)(document)
        document["trials"][0].update(trigger=trained_with, test_trigger=tested_with)

    return edit


def first_shard(**fields: Any) -> Edit:
    return lambda document: document["shards"][0].update(fields)


SAYABLE: dict[str, Edit] = {
    "plugins": top(plugins=[PLUGIN, {**PLUGIN, "name": "theirs-too"}, {**PLUGIN, "kind": "trigger"}]),
    "a target with a label of its own": trial(targets=[SPLIT_TARGET, {**SPLIT_TARGET, "adversarial_label": 2}]),
    "cover rows": covered(0, 2),
    "a test trigger": with_triggers("cross", "other"),
    "a warp": trigger(kind="warp", grid=4, strength="0.5", seed=3),
    "offsets": trigger(kind="additive", image="triggers/t.png"),
    "a shard of several trials": top(shards=[{"path": "poisons/all.tar", "trials": [0, 1], "samples": 6}]),
    "a fractional published bound": trial(constraint={**EXEMPT, "levels": 25, "exempt_trigger": False}),
    "l2": trial(constraint={"norm": "l2", "squared_levels": 1, "exempt_trigger": False}),
    "l2 over a whole image": trial(constraint={"norm": "l2", "squared_levels": 255**2 * 3, "exempt_trigger": False}),
    "an exempt trigger": trial(constraint=EXEMPT, trigger="cross"),
    "no constraint": trial(constraint={"norm": "none"}),
    "a set's name": top(name="Bullseye (no), v1: a+b=c@d/e_f-g.".replace("(no), ", "")),
    "fewer victims' classes": base(victim_classes=[2, 0]),
    "add": trial(composition={"rule": "add"}),
    "supplant": trial(composition={"rule": "supplant", "removed": [5, 2, 9]}),
    "a patch with a mask": trigger(kind="patch", image="triggers/t.png", mask="triggers/m.png", place=FIXED),
    "a patch anywhere": trigger(kind="patch", image="triggers/t.png", mask=None, place=RANDOM),
    "a blend": trigger(**BLEND),
    "a blend anywhere": trigger(**BLEND | {"place": RANDOM}),
    "stripes": trigger(**STRIPES),
    "a full image": trigger(kind="image", image="triggers/t.png", alpha="0.5"),
    "several targets": trial(targets=[{**SPLIT_TARGET, "index": i} for i in range(3)]),
    "a target of the train split": trial(targets=[{**SPLIT_TARGET, "split": "train", "index": 1}]),
    "a target of a file": trial(targets=[FILE_TARGET]),
    "source classes": trial(targets=[], source_classes=[0, 2]),
    "named lists": trial(
        lists={name: [1, 2] for name in ("poison-train", "poison-val", "clean-train", "clean-val", "adversarial-test")}
    ),
    "dirty labels": trial(labels="adversarial", slots={"bases": [1, 2, 4], "labels": [0, 2, 0], "cover": []}),
    "unknown bases": trial(slots={"bases": [None, 2, 4], "labels": [1, 1, 1], "cover": []}),
    "a repeated base": trial(slots={"bases": [2, 2, 4], "labels": [1, 1, 1], "cover": []}),
    "no outcome": trial(outcome=None),
    "small numbers": trial(outcome={"moved": 0, "objective": ["1e-05", "-0.5", "0"], "halvings": 6}),
    "a foreign setup": top(setup={"kind": "foreign", "name": "a stranger's folder"}),
    "a setup file": top(setup={"kind": "file", "name": "setup.pickle", "digest": DIGEST}),
    "drawn by rate": top(setup=BY_RATE),
    "a named setup": top(setup={"kind": "named", "name": "witches-brew-cifar10", "backdoor": False}),
    "surrogates with pools": top(surrogates=[SURROGATE, {**SURROGATE, "digest": "cd" * 32, "trials": None}]),
    "settings of every type": top(
        attack={
            "name": "a",
            "version": 3,
            "settings": {"a": True, "b": 1, "c": "0.5", "d": None},
            "trigger_spec": "sine,alpha=0.1",
            "precision": "bf16",
            "block_pixels": 262144,
        }
    ),
    "a commit": top(tool={"name": "poisonsets", "version": "0.1.0", "commit": "0" * 40}),
    "a surrogate in the set": lambda document: (
        document["files"].append({"path": f"surrogates/{DIGEST}.safetensors", "bytes": 1, "sha256": DIGEST})
        or document["files"].sort(key=lambda record: record["path"])
    ),
}


@pytest.mark.parametrize("say", SAYABLE.values(), ids=SAYABLE.keys())
def test_it_can_be_said(document: dict[str, Any], say: Edit) -> None:
    before = json.dumps(document)
    say(document)
    assert json.dumps(document) != before
    assert validated(document) == document


def files(*paths: str) -> Edit:
    return top(files=[{"path": path, "bytes": 1, "sha256": DIGEST} for path in paths])


REFUSED: dict[str, Edit] = {
    "plugins out of order": top(plugins=[{**PLUGIN, "kind": "trigger"}, PLUGIN]),
    "a plugin twice": top(plugins=[PLUGIN, PLUGIN]),
    "a plugin of no kind": top(plugins=[{**PLUGIN, "kind": "anything"}]),
    "a target's adversarial label that is the trial's": trial(targets=[{**SPLIT_TARGET, "adversarial_label": 1}]),
    "a target's adversarial label beyond the classes": trial(targets=[{**SPLIT_TARGET, "adversarial_label": 3}]),
    "a cover row that is no slot": covered(0, 3),
    "a cover row twice": covered(1, 1),
    "cover rows out of order": covered(2, 0),
    "a test trigger that is the trial's": with_triggers("cross", "cross"),
    "a test trigger alone": with_triggers("cross", None),
    "a test trigger that is not declared": with_triggers("none-such", "cross"),
    "a warp of one point": trigger(kind="warp", grid=1, strength="0.5", seed=3),
    "a warp by a number": trigger(kind="warp", grid=4, strength=0.5, seed=3),
    "a shard of no trial": first_shard(trials=[]),
    "a shard of another trial": first_shard(trials=[1]),
    "a shard of another name": first_shard(path="poisons/trial-00000-001.tar"),
    "a shard of fewer samples": first_shard(samples=2),
    "a shard of too many samples": top(shards=[{"path": "poisons/all.tar", "trials": [0, 1], "samples": 1001}]),
    "no index": top(shards=[]),
    "a shard too few": lambda document: document["shards"].pop(),
    "shards out of order": lambda document: document["shards"].reverse(),
    "another version": top(format="poisonset/2"),
    "a float": trial(trial=0.0),
    "a boolean for an integer": trial(trial=False),
    "a string for an integer": top(seed="7"),
    "an integer for a string": top(name=7),
    "a negative index": top(seed=-1),
    "an index that a double cannot hold": top(seed=2**53 + 1),
    "an unknown field": top(surprise=1),
    "an unknown field of a trial": trial(surprise=1),
    "an unknown field of a constraint": trial(constraint={"norm": "none", "levels": 8}),
    "no levels": trial(constraint={"norm": "linf"}),
    "zero levels": trial(constraint={**EXEMPT, "levels": 0, "exempt_trigger": False}),
    "fractional levels": trial(constraint={**EXEMPT, "levels": "8/255", "exempt_trigger": False}),
    "another norm": trial(constraint={"norm": "l1", "levels": 8}),
    "another composition": trial(composition={"rule": "by-count"}),
    "an unlisted list": trial(lists={"everything": [1]}),
    "unequal slots": trial(slots={"bases": [1, 2, 4], "labels": [1, 1], "cover": []}),
    "a label out of range": trial(adversarial_label=100_000),
    "an undeclared trigger": trial(trigger="none-such"),
    "a number for a decimal": trigger(kind="image", image="triggers/t.png", alpha=0.5),
    "an infinite decimal": trigger(kind="image", image="triggers/t.png", alpha="inf"),
    "a key that is no key": trial(targets=[{**FILE_TARGET, "key": "0-0"}]),
    "unsorted trials": lambda document: [document[part].reverse() for part in ("trials", "shards")],
    "a trial twice": lambda document: [document[part].append(document[part][-1]) for part in ("trials", "shards")],
    "no trials": top(trials=[]),
    "unsorted files": lambda document: document["files"].reverse(),
    "a file twice": files("README.md", "README.md"),
    "a path above": files("../README.md"),
    "an absolute path": files("/README.md"),
    "a hidden path": files(".README.md"),
    "a deep path": files("a/b/c.tar"),
    "a path with a drive": files("C:\\a.tar"),
    "an upper-case digest": top(content_digest=DIGEST.upper()),
    "a short digest": top(content_digest=DIGEST[:-1]),
    "no file without a hash": top(unhashed=[]),
    "a file without a hash twice": top(unhashed=["run.json", "run.json"]),
    "an exemption without a trigger": trial(constraint=EXEMPT, trigger=None),
    "an exemption for stripes": lambda document: (trigger(**STRIPES)(document), trial(constraint=EXEMPT)(document)),
    "an exemption for a blend": lambda document: (trigger(**BLEND)(document), trial(constraint=EXEMPT)(document)),
    "a trial that asks nothing": trial(targets=[], source_classes=[]),
    "an adversarial label beyond the classes": trial(adversarial_label=3),
    "a poison's label beyond the classes": trial(
        labels="adversarial", slots={"bases": [1, 2, 4], "labels": [0, 3, 0], "cover": []}
    ),
    "a source class beyond the classes": trial(source_classes=[3]),
    "a target's label beyond the classes": trial(targets=[{**SPLIT_TARGET, "label": 3}]),
    "no train split": lambda document: document["base"]["splits"].pop("train"),
    "no test split": lambda document: document["base"]["splits"].pop("test"),
    "splits of two sizes": lambda document: document["base"]["splits"]["test"].update(height=9),
    "no victims' class": base(victim_classes=[]),
    "a victims' class twice": base(victim_classes=[0, 1, 1]),
    "a victims' class beyond the classes": base(victim_classes=[0, 3]),
    "no classes": base(classes=[]),
    "a set's name that ends a line": top(name="a\nlicense: mit"),
    "a set's name that ends a quotation": top(name='a" #'),
    "a set's name that begins with a space": top(name=" a"),
    "a set without a name": top(name=""),
    "a long name of a set": top(name="a" * 201),
    "another file without a hash": top(unhashed=["manifest.json"]),
    "a rate and a number": top(setup={**BY_RATE, "poisons": 1}),
    "neither a rate nor a number": top(setup={**BY_RATE, "rate": None}),
    "a rate of nothing": top(setup={**BY_RATE, "rate": "0/10"}),
    "a base of three splits": lambda document: document["base"]["splits"].update(
        extra=document["base"]["splits"]["test"]
    ),
    "a name that is long": top(tool={"name": "x" * 201, "version": "1", "commit": None}),
}


@pytest.mark.parametrize("spoil", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(document: dict[str, Any], spoil: Edit) -> None:
    assert validated(document) == document
    spoil(document)
    with pytest.raises(ValidationError):
        validated(document)


def test_values_are_frozen() -> None:
    manifest = Manifest.model_validate_json(GOLDEN.read_bytes())
    with pytest.raises(ValidationError, match="frozen"):
        manifest.trials[0].trial = 3
