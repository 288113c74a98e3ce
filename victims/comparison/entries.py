"""Rows to entries: what one line of a comparison is about, its rates, and its outcome on each trial."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from poisonsets.victims.results.row import Row
from poisonsets.victims.results.summary import Rate, rate

By: TypeAlias = Literal["attack", "defence", "protocol", "suite"]
TrialKey: TypeAlias = tuple[int, str]
OWN: Final = "own"


@dataclass(frozen=True)
class Entry:
    """One line: a set's victims of one protocol and extractor, or, by suite, of all networks of the suite.

    Attributes:
        attack, set_name: as the set says; `unknown` and the digest's beginning of rows that do not say it.
        content_digest: of the set.
        defence: the protocol id's defences, or the name of the caller's own victim; `none` without.
        protocol: the id without defences; of a suite its name and the overrides.
        networks: each victim's (protocol id, version, extractor or empty), sorted.
        base: digest of the base; None where unknown.
        epsilon: levels of 255; None without an l-infinity bound, or where unknown.
        poisons: each (poisons, rows of the training set) that occurs.
        classes, seeds: those that victims know, and the victim seeds.
        threat_levels: each once.
        seen: a victim's pre-training held the base's images.
        trials: the mean outcome on each trial, 0..1, over networks and victim seeds.
        success, control: rates; by suite means over networks, with a bootstrap over trials.
        clean: correct and all test predictions.
        seconds: of all rows.
        left_out: trials without a row of each network and seed, which do not count.
    """

    attack: str
    set_name: str
    content_digest: str
    defence: str
    protocol: str
    networks: tuple[tuple[str, int, str], ...]
    base: str | None
    epsilon: int | None
    poisons: tuple[tuple[int, int], ...]
    classes: tuple[int, ...]
    seeds: tuple[int, ...]
    threat_levels: tuple[str, ...]
    seen: bool
    trials: dict[TrialKey, float]
    success: Rate
    control: Rate | None
    clean: tuple[int, int]
    seconds: Decimal
    left_out: int

    @property
    def budget(self) -> tuple[object, ...]:
        """What two entries must share to have had the same budget; of unknown ones it is the set's own."""
        unknown = self.content_digest if self.attack == "unknown" else ""
        return (self.epsilon, self.poisons, unknown)


def entries(rows: Iterable[Row], by: By) -> tuple[Entry, ...]:
    """The entries of rows that are each of another job."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(_key(row, by), []).append(row)
    return tuple(entry for group in groups.values() if (entry := _entry(group, by)) is not None)


def defence_of(row: Row) -> tuple[str, str]:
    """A row's protocol id without defences, and its defences: `none` without, an own victim's name.

    A `+` before a digit joins the numbers of one setting.
    """
    if row.victim is not None:
        return OWN, row.victim
    protocol, *defences = re.split(r"\+(?=[A-Za-z])", row.protocol, maxsplit=1)
    return protocol, defences[0] if defences else "none"


def suite_of(protocol: str) -> str:
    """A protocol id without its network: the suite, and the settings that differ from it."""
    name, _, settings = protocol.partition("@")
    return name.split("/")[0] + (f"@{settings}" if settings else "")


def _key(row: Row, by: By) -> tuple[object, ...]:
    protocol, defence = defence_of(row)
    of = (row.content_digest, row.victim_classes, defence, row.base_digest)
    if by == "suite":
        # From scratch nobody can know the weights, so a suite's networks stay together.
        return (*of, suite_of(protocol), row.threat_level if row.extractor else "")
    return (*of, protocol, row.protocol_version, row.extractor)


def _task(row: Row) -> TrialKey:
    labels = [(target.label, target.adversarial_label) for target in row.targets]
    return row.trial, row.task or f"{labels} {row.control_rows}"


def _entry(rows: Sequence[Row], by: By) -> Entry | None:
    victims = {(row.protocol, row.extractor, row.victim_seed) for row in rows}
    by_trial: dict[TrialKey, list[Row]] = {}
    for row in rows:
        by_trial.setdefault(_task(row), []).append(row)
    whole = {key: found for key, found in by_trial.items() if by != "suite" or len(found) == len(victims)}
    kept = [row for key in sorted(whole) for row in whole[key]]
    if not kept:
        return None
    paired = [row for row in kept if row.control is not None]
    protocol, defence = defence_of(kept[0])
    digest = kept[0].content_digest
    return Entry(
        attack=min((row.attack for row in kept if row.attack), default="unknown"),
        set_name=min((row.set_name for row in kept if row.set_name), default=digest[:12]),
        content_digest=digest,
        defence=defence,
        protocol=suite_of(protocol) if by == "suite" else protocol,
        networks=tuple(sorted({(row.protocol, row.protocol_version, row.extractor or "") for row in kept})),
        base=kept[0].base_digest,
        epsilon=kept[0].epsilon,
        poisons=tuple(sorted({(row.poisons, row.training_images) for row in kept})),
        classes=kept[0].victim_classes,
        seeds=tuple(sorted({row.victim_seed for row in kept})),
        threat_levels=tuple(sorted({row.threat_level for row in kept})),
        seen=any(row.seen_in_pretraining for row in kept),
        trials={key: sum(row.success for row in found) / len(found) for key, found in sorted(whole.items())},
        success=rate([(row.trial, row.success) for row in kept], len(victims)),
        control=rate([(row.trial, bool(row.control)) for row in paired], len(victims)) if paired else None,
        clean=(sum(row.clean_correct for row in kept), sum(row.clean_images for row in kept)),
        seconds=sum((Decimal(row.seconds) for row in rows), Decimal(0)),
        left_out=len(by_trial) - len(whole),
    )
