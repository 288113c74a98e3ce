"""docs/writing-an-attack.md: its attacks are installed as a package, keep the laws, craft, and verify."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forge import check, noise_request, small_base
from plugin_site import install

from poisonsets import attacks
from poisonsets.crafting.driver import craft_set
from poisonsets.experiments.laws.check import check_attack, laws
from poisonsets.manifests.records.origin import PluginRecord
from poisonsets.manifests.sets.reader import open_set
from poisonsets.registry import Traits
from poisonsets.surrogates import Surrogates
from poisonsets.victims.networks import build
from poisonsets.victims.networks.weights import Weights, load_weights, save_weights

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "writing-an-attack.md").read_text()
MODULES = dict(re.findall(r"<!-- my_attacks/(\w+)\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL))
NAMES = [module.replace("_", "-") for module in MODULES]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Untrained, of the three classes of the small base."""
    built = build("convnet", 3, "0.25", ("0.5",) * 3, ("0.25",) * 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("tiny") / "three.safetensors"
    save_weights(path, built, {"classes": [0, 1, 2], "epochs": 0, "lr_milestones": [1, 2], "seed": 0}, {"side": [8, 8]})
    return load_weights(path)


@pytest.fixture
def their_attacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_registry: None) -> None:
    install(tmp_path / "site", monkeypatch, "my_attacks", MODULES, {"poisonsets.attacks": " ".join(MODULES)})


def test_the_page_shows_three_attacks_of_under_forty_lines() -> None:
    assert NAMES == ["speckle", "mean-feature", "one-gradient"]
    for name, source in MODULES.items():
        code = [line for line in source.splitlines() if line.strip()]
        assert len(code) < 40, f"{name}: {len(code)} lines"
        assert f'{name.replace("_", "-")} = "my_attacks.{name}"' in PAGE


@pytest.mark.usefixtures("their_attacks")
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_of_the_page_keeps_the_laws(name: str) -> None:
    assert [one for one in check_attack(attacks.find(name)) if one.state == "broken"] == []


@pytest.mark.usefixtures("their_attacks")
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_of_the_page_crafts_a_set_that_verifies(name: str, tmp_path: Path, classifier: Weights) -> None:
    entry, base = attacks.find(name), small_base()
    given = {"steps": "2"} if "steps" in entry.defaults() else {}
    networks = Surrogates((classifier,) if entry.traits.needs else ())
    request = replace(noise_request(base), attack=entry, settings=entry.settings(given), surrogates=networks)
    assert craft_set(tmp_path / "set", request).refused == ()
    assert check(tmp_path / "set", base).clean
    wanted = PluginRecord(kind="attack", name=name, package="my-attacks", version="1.5")
    assert open_set(tmp_path / "set").manifest.plugins == (wanted,)


def test_the_page_names_every_law_and_every_trait() -> None:
    assert not [name for name in [*laws(), *Traits.__annotations__] if f"`{name}`" not in PAGE]
