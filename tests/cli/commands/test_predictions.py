"""A victim in another program: what `export --queries` gives it, and `score --predictions` makes of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from conftest import Cli


def predict(folder: Path, label: int | None = None) -> dict[str, np.ndarray]:
    """The class whose mean is nearest, or one label for all."""
    found = {}
    for path in folder.glob("*.npz"):
        given = np.load(path)
        flat = {name: given[name].reshape(len(given[name]), -1).astype(float) for name in ("images", "queries")}
        means = np.stack([flat["images"][given["labels"] == one].mean(0) for one in range(5)])
        logits = -((flat["queries"][:, None] - means) ** 2).sum(2)
        found[path.stem] = logits if label is None else np.full(len(logits), label)
    return found


def test_predictions_come_back_as_rows(cli: Cli, here: Path, honest: Path) -> None:
    done = cli("export", honest, "--queries", "--victim-seeds", "0-1", "-o", "q")
    assert (done.code, done.err) == (0, "")
    assert "q: 8 trainings" in done.out
    np.savez(here / "means.npz", **predict(here / "q"))
    back = (
        done.out.splitlines()[1].partition("poisonsets ")[2].strip("`").replace("predictions.npz", "means.npz").split()
    )
    score = cli(*back, "-o", "r", "--json").document()
    assert len(score["rows"]) == 4
    for row in score["rows"]:
        assert (row["victim"], row["attack"], row["set_name"]) == ("means", "noise", "honest")
        assert row["clean_correct"] > row["clean_images"] / 2
        assert row["epsilon"] == 8
    assert sorted(path.name for path in (here / "r" / "rows").iterdir())
    assert "own/means" in cli(*back).out
    assert "means" in cli("show", "r").out
    (group,) = cli("show", "r", "--json").document()["groups"]
    assert [entry["trials"] for entry in group["entries"]] == [2]
    cli("show", "r", "--picture", "p.png").refused(2, "--picture is of a poison set")
    named = cli(*back, "--victim", "centroids", "--fail-under", "1")
    assert named.code == 1
    assert "own/centroids" in named.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--trials", "0"), ("not of these trials",)),
        (("--protocol", "digits-transfer/convnet"), ("--protocol with --predictions",)),
        (("--keep-victims", "-o", "r"), ("--keep-victims with --predictions",)),
        (("--victim", ""), ("a victim called ''",)),
    ],
)
def test_what_does_not_fit_is_refused(
    cli: Cli, here: Path, honest: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    cli("export", honest, "--queries", "-o", "q", "-q")
    np.savez(here / "p.npz", **predict(here / "q", 0))
    cli("score", honest, "--predictions", "p.npz", *options).refused(2, *words)
    assert not (here / "r").exists()


def test_predictions_of_another_size_name_the_training(cli: Cli, here: Path, honest: Path) -> None:
    cli("export", honest, "--queries", "-o", "q", "-q")
    found = predict(here / "q", 0)
    first = sorted(found)[0]
    np.savez(here / "p.npz", **found | {first: found[first][:-1]})
    cli("score", honest, "--predictions", "p.npz", "-q").refused(2, "trial ", "shape")


def test_queries_and_whole_sets_exclude_one_another(cli: Cli, here: Path, honest: Path) -> None:
    cli("export", honest, "--queries", "--full", "-o", "q").refused(2, "--queries and --full")
    assert cli("export", honest, "--queries", "-o", "q", "--json").document()["trainings"]
    cli("export", honest, "--queries", "-o", "q").refused(4, "q")
