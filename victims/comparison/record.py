"""A comparison as data: one record a line, which every format is written from, so that their numbers agree."""

from typing import Any

from poisonsets.victims.comparison.ranking import Comparison, Group
from poisonsets.victims.results.summary import METRIC, Rate


def document(found: Comparison) -> dict[str, Any]:
    """As JSON: counts are integers; rates, p values and seconds are decimal strings."""
    return {
        "schema_version": 1,
        "by": found.by,
        "metric": METRIC,
        "groups": [_group(group, number) for number, group in enumerate(found.groups, 1)],
    }


def _group(group: Group, number: int) -> dict[str, Any]:
    return {
        "group": number,
        "title": group.title,
        "verdict": list(group.verdict),
        "entries": [entry_record(group, place, number) for place in range(len(group.entries))],
        "pairs": [
            {
                "first": pair.first + 1,
                "second": pair.second + 1,
                "only_first": pair.only_first,
                "only_second": pair.only_second,
                "p": f"{pair.p:.6g}",
                "p_holm": f"{pair.adjusted:.6g}",
            }
            for pair in group.pairs
        ],
    }


def entry_record(group: Group, place: int, number: int) -> dict[str, Any]:
    """One line of a group as flat JSON; `p_first` is against the group's first line, after Holm's correction."""
    entry = group.entries[place]
    against = next((pair for pair in group.pairs if (pair.first, pair.second) == (0, place)), None)
    return {
        "group": number,
        "rank": group.ranks[place],
        "attack": entry.attack,
        "set_name": entry.set_name,
        "content_digest": entry.content_digest,
        "defence": entry.defence,
        "protocol": entry.protocol,
        "extractors": ",".join(sorted({extractor for _, _, extractor in entry.networks if extractor})),
        "threat_levels": ",".join(entry.threat_levels),
        "seen_in_pretraining": entry.seen,
        "base_digest": entry.base,
        "epsilon": entry.epsilon,
        "poisons": "; ".join(f"{poisons} of {images}" for poisons, images in entry.poisons),
        "networks": len(entry.networks),
        "trials": len(entry.trials),
        "trials_left_out": entry.left_out,
        **_rate("success", entry.success),
        **_rate("control", entry.control),
        "clean_correct": entry.clean[0],
        "clean_images": entry.clean[1],
        "seconds": str(entry.seconds),
        "p_first": None if against is None else f"{against.adjusted:.6g}",
    }


def _rate(name: str, rate: Rate | None) -> dict[str, Any]:
    values: tuple[Any, ...] = (None,) * 5
    if rate is not None:
        low, high = rate.interval
        values = (rate.successes, rate.n, f"{low:.6f}", f"{high:.6f}", rate.interval_method)
    parts = ("", "_n", "_low", "_high", "_interval")
    return {f"{name}{part}": value for part, value in zip(parts, values, strict=True)}


HEAD = (
    *("rank", "attack", "set", "defence", "protocol", "extractor", "threat level", "n", "success [95 % interval]"),
    *("clean control [95 % interval]", "clean accuracy", "seconds", "p against the first"),
)


def cells(record: dict[str, Any]) -> tuple[str, ...]:
    """A line's record in words, one a heading of `HEAD`."""
    seen = ", seen in pre-training" if record["seen_in_pretraining"] else ""
    extractors = ", ".join(one[:8] for one in record["extractors"].split(",") if one) or "none"
    networks = f" (mean of {record['networks']} networks)" if record["networks"] > 1 else ""
    return (
        *(str(record["rank"]), record["attack"], record["set_name"], record["defence"]),
        *(record["protocol"] + networks, extractors + seen, record["threat_levels"].replace(",", ", ")),
        str(record["success_n"])
        + (f" ({record['trials_left_out']} trials left out)" if record["trials_left_out"] else ""),
        *(_interval(record, "success"), _interval(record, "control")),
        f"{100 * record['clean_correct'] / record['clean_images']:.1f} %" if record["clean_images"] else "none",
        f"{float(record['seconds']):.1f}",
        "" if record["p_first"] is None else f"{float(record['p_first']):.2g}",
    )


def _interval(record: dict[str, Any], name: str) -> str:
    successes, n = record[name], record[f"{name}_n"]
    if successes is None:
        return "none"
    low, high = 100 * float(record[f"{name}_low"]), 100 * float(record[f"{name}_high"])
    return f"{successes} of {n}, {100 * successes / n:.1f} % [{low:.1f}, {high:.1f}]"
