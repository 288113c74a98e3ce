"""What there is to choose from: the tables of `poisonsets list`, and the names that a shell completes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poisonsets.victims.networks.weights_cache import CachedWeights

Table = list[dict[str, Any]]


def names(what: str) -> Callable[[], list[str]]:
    """What completes a name of one of the `LISTS`: of bases those at hand, of setups those that are no files."""

    def complete() -> list[str]:
        if what == "bases":
            from poisonsets.door.cache import cache_folder
            from poisonsets.manifests.bases.cache import list_bases

            return [entry.name for entry in list_bases(cache_folder()) if entry.problem is None]
        if what == "setups":
            from poisonsets.manifests.trials.published import RULES

            return [*RULES]
        return [str(row.get("name") or row["id"]) for row in LISTS[what]()]

    return complete


def _attacks() -> Table:
    from poisonsets.attacks import attacks
    from poisonsets.settings import record_settings

    return [
        {
            "name": one.name,
            "aliases": list(one.aliases),
            "threat model": one.traits.threat_model,
            "objective": one.traits.objective,
            "settings": record_settings(one.defaults()),
            "source": one.source,
        }
        for one in attacks().values()
    ]


def _bases() -> Table:
    from poisonsets.manifests.bases.registry import kinds

    return [
        {"name": kind.usage, "embedded": kind.source == "embedded", "summary": kind.summary}
        for kind in kinds().values()
    ]


def _networks() -> Table:
    from poisonsets.victims.networks import NetworkSpec, full_name, names, skeleton, spellings

    built = {name: skeleton(NetworkSpec(name, 10, "1", ("0",) * 3, ("1",) * 3)) for name in names()}
    rows: Table = [
        {
            "name": name,
            "stands for": name,
            "features": network.feature_width,
            "parameters with 10 classes": sum(p.numel() for p in network.parameters()),
            "smallest image": network.body.smallest,
        }
        for name, network in built.items()
    ]
    others = [name for name in spellings() if name not in built]
    unknown = {"features": "its own", "parameters with 10 classes": "its own", "smallest image": "its own"}
    return rows + [{"name": name, "stands for": full_name(name), **unknown} for name in others]


def _protocols() -> Table:
    from poisonsets.victims.protocols import suite, suites

    return [
        {
            "id": protocol.id,
            "version": protocol.version,
            "training": protocol.training,
            "composition": protocol.composition,
            "size": protocol.size,
            "epochs": protocol.epochs,
        }
        for name in suites()
        for protocol in suite(name)
    ]


def _suites() -> Table:
    from poisonsets.victims.protocols import suite, suites, takes_any_network

    return [
        {
            "name": name,
            "protocols": [protocol.id for protocol in suite(name)],
            "other networks": takes_any_network(name),
        }
        for name in suites()
    ]


def _weights() -> Table:
    from poisonsets.door.cache import cache_folder
    from poisonsets.victims.networks.weights_cache import list_weights

    return [weights_row(one) for one in list_weights(cache_folder())]


def weights_row(one: CachedWeights) -> dict[str, Any]:
    """What a list says of a file of weights, a kept victim among them."""
    record = one.record
    classes = record.get("classes", record.get("victim_classes", ()))
    return {
        "name": one.name,
        "network": record.get("network", ""),
        "classes": len(classes) if isinstance(classes, list) else 0,
        "trained on": _training(record) or one.dataset or "",
        "licence": record.get("pretraining", {}).get("licence", ""),
        "digest": one.digest,
        "bytes": one.bytes,
        "problem": one.problem,
    }


def _training(record: dict[str, Any]) -> str:
    """Of a kept victim the trial that it was trained on, and the extractor that its head needs."""
    said = record if "role" in record else record.get("pretraining", {})
    if "role" not in said:
        return ""
    head = f", a head on extractor {said['extractor'][:12]}" if "features" in record and said.get("extractor") else ""
    images = "the poisons of" if said["role"] == "poisoned" else "the clean images of"
    return f"{images} trial {said.get('trial')} of set {str(said.get('content_digest'))[:12]}{head}"


def _setups() -> Table:
    from poisonsets.manifests.trials.published import RULES

    return [
        {"name": "drawn", "summary": "trials drawn from --seed (the default)"},
        *({"name": name, "summary": f"--setup {name}: {count} trials, computed"} for name, (count, _) in RULES.items()),
        {
            "name": "FILE.json",
            "summary": "--setup FILE: our own JSON form, poisonset-setups/1 (docs/setups.md)",
        },
        {
            "name": "FILE.pickle",
            "summary": "--setup FILE: the published benchmark's files, read without unpickling",
        },
    ]


def _checks() -> Table:
    from poisonsets.manifests.interop import import_codes
    from poisonsets.manifests.verification.check_registry import promises
    from poisonsets.manifests.verification.checks import integrity
    from poisonsets.manifests.verification.findings import kind_of

    every = {**integrity.CODES, **promises(), **import_codes.CODES}
    return [{"code": code, "kind": kind_of(code), "promise": promise} for code, promise in every.items()]


def _presets() -> Table:
    from poisonsets.presets import PUBLISHED, tables

    shipped = {
        name: {attack: " ".join(f"{k}={v}" for k, v in given.items()) for attack, given in found.items()}
        for name, found in tables().items()
    }
    return [{"name": PUBLISHED, "attacks": {"all": "their own defaults"}}] + [
        {"name": name, "attacks": found} for name, found in shipped.items()
    ]


def _triggers() -> Table:
    from poisonsets.settings import record_settings
    from poisonsets.triggers import kinds

    return [
        {
            "name": kind.name,
            "summary": kind.summary,
            "options": record_settings(kind.options({})),
        }
        for kind in kinds().values()
    ]


def _formats() -> Table:
    from poisonsets.manifests.interop.formats import formats

    return [
        {"name": one.name, "read": True, "written": one.write is not None, "summary": one.summary}
        for one in formats().values()
    ]


LISTS: dict[str, Callable[[], Table]] = {
    "attacks": _attacks,
    "bases": _bases,
    "networks": _networks,
    "protocols": _protocols,
    "suites": _suites,
    "weights": _weights,
    "setups": _setups,
    "presets": _presets,
    "triggers": _triggers,
    "formats": _formats,
    "checks": _checks,
}
