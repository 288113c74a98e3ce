"""Our scorer and our feature attacks beside the plain loop of the published benchmark: one table for any base.

python tests/equivalence.py --base digits --surrogate weights.safetensors --trials 0-9
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import plain_benchmark as plain
import torch
from benchmarks.case_feature_attacks import plain_network
from numpy.typing import NDArray
from torch import Tensor

from poisonsets.crafting.driver import craft_set
from poisonsets.crafting.planning import Draw, craft_request
from poisonsets.door.cache import cache_folder
from poisonsets.manifests.bases.cache import open_base
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.interop.exporting.export_set import export_set
from poisonsets.manifests.interop.formats import formats
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.spelling import parse_numbers
from poisonsets.surrogates import Surrogates
from poisonsets.victims.networks import Classifier
from poisonsets.victims.networks.weights import Weights, load_weights
from poisonsets.victims.protocols import Protocol, parse
from poisonsets.victims.results.folder import victim_path
from poisonsets.victims.results.victim_file import load_victim
from poisonsets.victims.scoring.score import score_set
from poisonsets.victims.training.views import as_input

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Margins:
    """Adversarial minus true logit of each trial's target, float64 [trials, victims of different seeds].

    Attributes:
        ours, plain: of victims trained on the poisons by our scorer and by the plain loop.
        control: of our clean controls.
        seconds: of our scorer, controls included, and of the plain loop.
    """

    ours: NDArray[np.float64]
    plain: NDArray[np.float64]
    control: NDArray[np.float64]
    seconds: tuple[float, float]

    @property
    def correlation(self) -> float:
        """Pearson's, of the trials' means over seeds."""
        return float(np.corrcoef(self.ours.mean(1), self.plain.mean(1))[0, 1])

    @property
    def difference(self) -> float:
        """Ours minus plain, the mean over everything."""
        return float(self.ours.mean() - self.plain.mean())

    @property
    def seed_deviation(self) -> float:
        """The standard deviation of the plain loop's victims of one trial, pooled over trials."""
        return float(np.sqrt(self.plain.var(1, ddof=1).mean()))

    @property
    def standard_error(self) -> float:
        """Of `difference` if both sides draw from one distribution: that of a difference of two means."""
        return self.seed_deviation * float(np.sqrt(1 / self.ours.size + 1 / self.plain.size))

    @property
    def correlation_bound(self) -> float:
        """What 999 of 1,000 pairs of such means exceed that differ by the luck of their seeds alone.

        Both are drawn around the plain loop's means, with its deviation over seeds.
        """
        around, luck = self.plain.mean(1), self.seed_deviation / self.plain.shape[1] ** 0.5
        pairs = around + luck * np.random.default_rng(0).standard_normal((10_000, 2, len(around)))
        return float(np.quantile([np.corrcoef(pair)[0, 1] for pair in pairs], 0.001))


def scored(
    folder: Path, base: Base, extractor: Weights, protocol: Protocol, seeds: Sequence[int], scratch: Path
) -> Margins:
    """A set's targets under our victims, from the files that scoring keeps, and under plain ones."""
    opened, started = open_set(folder), time.perf_counter()
    asked: dict[str, Any] = {"protocols": [protocol], "extractors": [extractor], "victim_seeds": seeds}
    rows = score_set(opened, base, results=scratch / "rows", keep_victims=True, device=CPU, **asked).rows
    ours_took = time.perf_counter() - started
    targets = {trial.number: as_input(torch.from_numpy(trial.target_images(base)[:1])) for trial in opened.trials}

    @torch.no_grad()
    def margins(role: Any) -> NDArray[np.float64]:
        found = []
        for row in rows:
            logits = load_victim(victim_path(scratch / "rows", row.job, role), extractor)(targets[row.trial])[0]
            place, target = row.victim_classes.index, row.targets[0]
            found.append(float(logits[place(target.adversarial_label)] - logits[place(target.label)]))
        return np.array(found).reshape(len(opened.trials), len(seeds))

    ours, control = margins("poisoned"), margins("control")
    export_set(scratch / "triples", opened, base, formats()["triple"])
    victim = plain.Victim(base.victim_classes, protocol.size or 0, protocol.pad, protocol.flip)
    triples = {trial.number: plain.Triple.read(scratch / "triples" / str(trial.number)) for trial in opened.trials}
    network, started = plain_network(extractor.network), time.perf_counter()
    found = [
        [victim.margin(network, base.train, triple, 1000 * number + seed) for seed in seeds]
        for number, triple in triples.items()
    ]
    return Margins(ours, np.array(found), control, (ours_took, time.perf_counter() - started))


@dataclass(frozen=True)
class Attack:
    """One of our attacks and its plain form.

    Attributes:
        name, settings: ours.
        objective: what both lower, from features [P, D] and a goal [D].
        steps: of both.
        craft: the plain form, from network, bases, target, levels and steps to images.
    """

    name: str
    settings: dict[str, str]
    objective: plain.Objective
    steps: int
    craft: Callable[..., Tensor]


def attacks(*, bullseye: int, polytope: int, collision: int, rate: float) -> list[Attack]:
    """All four, with their steps and the step size of feature collision."""
    searched = {"learning_rate": str(rate)}
    return [
        Attack("bullseye-polytope", {}, plain.bullseye_ratio, bullseye, plain.bullseye),
        Attack("convex-polytope", {}, plain.hull_distance, polytope, plain.polytope),
        *(
            Attack(
                "feature-collision",
                searched | {"line_search": search},
                plain.mean_distance,
                collision,
                partial(plain.collisions, rate=rate, published=search == "published"),
            )
            for search in ("fixed", "published")
        ),
    ]


@dataclass(frozen=True)
class Crafted:
    """The objective of each trial, float64 [trials], under one measure and after rounding: clean, ours and plain.

    Attributes:
        seconds: a trial, ours and plain.
    """

    clean: NDArray[np.float64]
    ours: NDArray[np.float64]
    plain: NDArray[np.float64]
    seconds: tuple[float, float]


def crafted(
    attack: Attack, base: Base, surrogate: Weights, trials: Sequence[int], poisons: int, levels: int, scratch: Path
) -> Crafted:
    """What an attack reaches through our command's way, set on disk included, and in its plain form."""
    started = time.perf_counter()
    settings = attack.settings | {"steps": str(attack.steps)}
    request = craft_request(
        *(attack.name, base),
        settings=settings,
        trials=trials,
        epsilon=levels,
        surrogates=Surrogates((surrogate,)),
        asked=Draw(poisons=poisons),
    )
    craft_set(scratch, request)
    ours_took, plain_took = time.perf_counter() - started, 0.0
    network, found = plain_network(surrogate.network), []
    for trial in open_set(scratch).trials:
        bases = base.train.images[list(trial.record.slots.bases)]
        target = as_input(torch.from_numpy(trial.target_images(base)[:1]))
        started = time.perf_counter()
        images = attack.craft(network, as_input(torch.from_numpy(bases)), target, levels=levels, steps=attack.steps)
        plain_took += time.perf_counter() - started
        rounded = torch.round(images * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        each = (_reached(attack.objective, network, one, target) for one in (bases, trial.poisons()[0], rounded))
        found.append(list(each))
    clean, ours, theirs = np.array(found).T
    return Crafted(clean, ours, theirs, (ours_took / len(found), plain_took / len(found)))


@torch.no_grad()
def _reached(objective: plain.Objective, network: Classifier, images: Images, target: Tensor) -> float:
    return float(objective(network.features(as_input(torch.from_numpy(images))), network.features(target)[0]))


def attack_line(attack: Attack, found: Crafted) -> str:
    """One line of the table."""
    settings = "".join(f", {key}={value}" for key, value in attack.settings.items())
    apart = np.abs(found.ours - found.plain) / found.clean
    return (
        f"| {attack.name}, {attack.steps} steps{settings} | {len(found.ours)} | {found.clean.mean():.4g} "
        f"| {found.ours.mean():.4g} | {found.plain.mean():.4g} | {100 * apart.max():.2g} % of clean apart at most "
        f"| {found.seconds[0]:.2g}, {found.seconds[1]:.2g} |"
    )


def scorer_line(protocol: Protocol, found: Margins) -> str:
    """One line of the table."""
    trials, seeds = found.ours.shape
    luck = f"standard error {found.standard_error:.3f}; SD over seeds {found.seed_deviation:.3f}"
    return (
        f"| {protocol.id}, margin | {trials} x {seeds} | {found.control.mean():.3f} | {found.ours.mean():.3f} "
        f"| {found.plain.mean():.3f} | r = {found.correlation:.4f} over trials (luck alone: above "
        f"{found.correlation_bound:.4f}); difference {found.difference:+.3f} ({luck}) "
        f"| {found.seconds[0] / trials:.2g}, {found.seconds[1] / trials:.2g} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--surrogate", required=True, type=Path, help="weights of the attacker and of the victims")
    parser.add_argument("--protocol", default="digits-transfer/convnet", help="of one size, heads on a frozen network")
    parser.add_argument("--trials", default="0-9")
    parser.add_argument("--victim-seeds", default="0-1")
    parser.add_argument("--poisons", type=int, default=25)
    parser.add_argument("--epsilon", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.001, help="of feature collision")
    parser.add_argument("--steps", default="100,50,120", help="of bullseye, convex polytope and feature collision")
    given = parser.parse_args()
    base, surrogate = open_base(given.base, cache=cache_folder()), load_weights(given.surrogate)
    trials, seeds = parse_numbers(given.trials, "--trials"), parse_numbers(given.victim_seeds, "--victim-seeds")
    bullseye, polytope, collision = (int(steps) for steps in given.steps.split(","))
    protocol = parse(given.protocol)
    torch.set_num_threads(1)
    print("| what | n | clean | ours | plain | agreement | s a trial: ours, plain |\n|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as name:
        folder = Path(name)
        listed = attacks(bullseye=bullseye, polytope=polytope, collision=collision, rate=given.rate)
        for number, attack in enumerate(listed):
            place = folder / str(number)
            print(attack_line(attack, crafted(attack, base, surrogate, trials, given.poisons, given.epsilon, place)))
        print(scorer_line(protocol, scored(folder / "0", base, surrogate, protocol, seeds, folder)))


if __name__ == "__main__":
    main()
