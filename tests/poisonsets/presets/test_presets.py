"""Settings by name: shipped files fit their attacks, and a file that does not is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from poisonsets import attacks
from poisonsets.manifests.errors import MissingError, UsageError
from poisonsets.presets import names, preset_settings, tables


def test_published_is_every_attacks_own_defaults() -> None:
    assert names()[0] == "published"
    for entry in attacks.attacks().values():
        assert preset_settings("published", entry) == {}


def test_shipped_tables_fit_their_attacks() -> None:
    assert set(tables()) == {"augmented", "digits"}
    for name, of_attacks in tables().items():
        for attack, given in of_attacks.items():
            entry = attacks.find(attack)
            assert entry.name == attack, "a table goes by the attack's full name"
            resolved = entry.settings(given)
            assert resolved != entry.defaults(), "a table that changes nothing"
            assert preset_settings(name, entry) == given


def test_augmented_is_for_the_feature_attacks_and_no_default() -> None:
    assert set(tables()["augmented"]) == {"bullseye-polytope", "convex-polytope", "feature-collision"}
    for attack, given in tables()["augmented"].items():
        entry = attacks.find(attack)
        assert entry.settings(given)["augment"] is True
        assert entry.defaults()["augment"] is False


def test_a_users_file_is_read_by_names_and_aliases(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[BP]\nsteps = 7\naugment = true\nlearning_rate = 0.5\n")
    entry = attacks.find("bullseye-polytope")
    assert preset_settings(str(path), entry) == {"steps": "7", "augment": "true", "learning_rate": "0.5"}
    assert preset_settings(str(path), attacks.find("noise")) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steps = 7\n", "steps is not a table"),
        ("[bullseye-polytope]\nstep = 7\n", "has no setting 'step'"),
        ("[bullseye-polytope]\nsteps = 0\n", "outside"),
        ("[bulseye]\nsteps = 7\n", "unknown attack"),
        ("[noise", "not a TOML file"),
    ],
)
def test_a_file_that_fits_no_attack_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        preset_settings(str(path), attacks.find("noise"))


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no preset called 'digit'.*published, augmented, digits"):
        preset_settings("digit", attacks.find("noise"))
    with pytest.raises(MissingError):
        preset_settings(str(tmp_path / "none.toml"), attacks.find("noise"))
