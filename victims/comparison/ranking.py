"""Entries ranked within groups that can be compared, and the exact test of each pair in a group."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, get_args

from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.spelling import format_numbers, unknown
from poisonsets.victims.comparison.entries import By, Entry, defence_of, entries
from poisonsets.victims.results.row import Row
from poisonsets.victims.results.statistics import holm, mcnemar_exact

LEVEL: Final = 0.05


@dataclass(frozen=True)
class Pair:
    """Two entries of a group, by their places in it, on the same trials.

    Attributes:
        first, second: places, 0-based.
        only_first, only_second: trials where only that one succeeded (with several victims: more of its victims).
        p: exact McNemar; with several victims a trial the same test on the sign of each trial's difference.
        adjusted: p after Holm's correction over all pairs of the group.
    """

    first: int
    second: int
    only_first: int
    only_second: int
    p: float
    adjusted: float


@dataclass(frozen=True)
class Group:
    """Entries with the same trials of one base, in the order of their ranks, and what else they share.

    Attributes:
        title: what they share, in words.
        ranks: 1-based, equal where rates are.
        pairs: each pair of entries.
        verdict: what the pairs say, in words.
    """

    title: str
    entries: tuple[Entry, ...]
    ranks: tuple[int, ...]
    pairs: tuple[Pair, ...]
    verdict: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All groups, sorted by their titles, and what was compared."""

    by: By
    groups: tuple[Group, ...]


def compare_rows(rows: Iterable[Row], by: By = "attack", protocols: Sequence[str] = ()) -> Comparison:
    """Rank what rows say by attack, by defence, by protocol, or attacks by the mean over a suite's networks.

    Attacks and suites are ranked with the highest success first, defences with the lowest.

    Args:
        rows: each of another job, in any order.
        by: what is ranked within a group; everything else is the same there.
        protocols: ids; only their rows are compared. All where empty.

    Raises:
        UsageError: no rows of a protocol, or several of them were asked for where only one can be ranked.
    """
    if by not in get_args(By):
        raise unknown("ranking", str(by), get_args(By))
    given = sorted(rows, key=lambda row: row.job)
    wanted = tuple(dict.fromkeys(protocols))
    if len(wanted) > 1 and by in ("attack", "defence"):
        raise UsageError(
            f"by {by}, rows of {len(wanted)} protocols ({', '.join(wanted)}) cannot be ranked together",
            "Give one --protocol, or rank with --by protocol",
        )
    there = {row.protocol for row in given} | {defence_of(row)[0] for row in given}
    for name in wanted:
        if name not in there:
            raise unknown("protocol of these rows", name, there)
    if wanted:
        given = [row for row in given if {row.protocol, defence_of(row)[0]} & set(wanted)]
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries(given, by):
        groups.setdefault(_shared(entry, by), []).append(entry)
    return Comparison(by, tuple(sorted((_group(found, by) for found in groups.values()), key=_order)))


def _order(group: Group) -> tuple[str, str]:
    first = group.entries[0]
    return group.title, f"{first.content_digest} {first.networks} {sorted(first.trials)}"


def _shared(entry: Entry, by: By) -> tuple[object, ...]:
    on = (entry.base or entry.content_digest, entry.classes, frozenset(entry.trials), entry.seeds)
    if by == "protocol":
        return (*on, entry.content_digest, entry.defence)
    if by == "defence":
        extractors = tuple((version, extractor) for _, version, extractor in entry.networks)
        return (*on, entry.content_digest, entry.protocol, extractors)
    return (*on, entry.protocol, entry.defence, entry.networks, entry.budget)


def _group(found: Sequence[Entry], by: By) -> Group:
    sign = 1 if by == "defence" else -1
    ordered = sorted(found, key=lambda one: (sign * _share(one), *name_of(one), one.content_digest, one.networks))
    shares = [_share(one) for one in ordered]
    ranks = tuple(shares.index(share) + 1 for share in shares)
    pairs = _pairs(ordered)
    return Group(_title(ordered[0], by), tuple(ordered), ranks, pairs, _verdict(ordered, pairs, by))


def _share(entry: Entry) -> float:
    return round(sum(entry.trials.values()) / len(entry.trials), 12)


def name_of(entry: Entry) -> tuple[str, str, str, str]:
    """An entry's attack, set, protocol and defence."""
    return entry.attack, entry.set_name, entry.protocol, entry.defence


def _pairs(found: Sequence[Entry]) -> tuple[Pair, ...]:
    counted = []
    for first, second in combinations(range(len(found)), 2):
        one, other = found[first].trials, found[second].trials
        counted.append(
            (first, second, sum(one[key] > other[key] for key in one), sum(one[key] < other[key] for key in one))
        )
    values = [mcnemar_exact(b, c) for _, _, b, c in counted]
    return tuple(Pair(*pair, p, corrected) for pair, p, corrected in zip(counted, values, holm(values), strict=True))


def _verdict(found: Sequence[Entry], pairs: Sequence[Pair], by: By) -> tuple[str, ...]:
    n, count = len(found[0].trials), len(pairs)
    if not pairs:
        return ("one entry, nothing to rank it against: no other has the same trials and all that the title names",)
    told = [pair for pair in pairs if pair.adjusted < LEVEL]
    if not told:
        if count * 2.0 ** (1 - n) >= LEVEL:
            needed = next(trials for trials in range(n, 200) if count * 2.0 ** (1 - trials) < LEVEL)
            return (
                f"n too small to tell: with {n} trials and {count} pairs no outcome is significant, "
                f"at least {needed} trials are needed",
            )
        least = min(pair.adjusted for pair in pairs)
        return (f"n too small to tell: none of {count} pairs differs (smallest p after Holm's correction {least:.3g})",)
    names = [label(one, by) for one in found]
    lines = []
    for pair in told:
        high, low = (pair.first, pair.second) if pair.only_first > pair.only_second else (pair.second, pair.first)
        lines.append(f"{names[high]} succeeds more than {names[low]} (p {pair.adjusted:.3g} after Holm's correction)")
    if len(told) < count:
        lines.append(f"n too small to tell in {count - len(told)} of {count} pairs")
    return tuple(lines)


def label(entry: Entry, by: By) -> str:
    """What an entry is called among those that it is ranked with."""
    if by == "defence":
        return entry.defence
    if by == "protocol":
        return entry.protocol + "".join(f" on {extractor[:8]}" for _, _, extractor in entry.networks if extractor)
    return f"{entry.attack} ({entry.set_name})"


def _title(entry: Entry, by: By) -> str:
    base = "unknown" if entry.base is None else entry.base[:8]
    trials = format_numbers({number for number, _ in entry.trials})
    parts = [f"base {base}", f"trials {trials}", f"victim seeds {format_numbers(entry.seeds)}"]
    if by != "protocol":
        parts.append(f"protocol {entry.protocol}" if by != "suite" else f"suite {entry.protocol}")
    if by != "defence":
        parts.append(f"defence {entry.defence}")
    if by in ("attack", "suite"):
        return "; ".join([*parts, budget_words(entry)])
    return "; ".join([*parts, f"attack {entry.attack} ({entry.set_name})"])


def budget_words(entry: Entry) -> str:
    """The budget: `epsilon 8, 25 of 500 poisons`."""
    counted = ", ".join(f"{poisons} of {images}" for poisons, images in entry.poisons)
    if entry.attack == "unknown":
        return f"budget unknown, {counted} poisons"
    return f"{'no l-infinity bound' if entry.epsilon is None else f'epsilon {entry.epsilon}'}, {counted} poisons"
