"""Origin: trials that claim to be drawn from a seed, or computed by a published rule, are made again and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.errors import PoisonsetsError
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import DrawnSetup, NamedSetup, Supplant
from poisonsets.manifests.setups.drawn import draw
from poisonsets.manifests.setups.named import compute
from poisonsets.manifests.setups.plan import Plan


@check("V501")
def drawn_as_declared(case: Case) -> Iterator[Finding]:
    """Targets, source classes, adversarial label, bases and supplanted images are those that the setup gives."""
    setup = case.owner.manifest.setup
    if not isinstance(setup, DrawnSetup | NamedSetup):
        return
    by = f"seed {setup.seed} draws" if isinstance(setup, DrawnSetup) else f"setup {setup.name} has"
    number = case.trial.number
    try:
        plan = draw(case.base, setup, number) if isinstance(setup, DrawnSetup) else compute(case.base, setup, number)
    except PoisonsetsError as error:
        yield case.violation("V501", f"the declared setup cannot be drawn from this base: {error.message}")
        return
    record = case.record
    rule = record.composition
    removed = tuple(rule.removed) if isinstance(rule, Supplant) else None
    for what, found, wanted in (
        ("target", _named(record.targets), _named(plan.targets)),
        ("source classes", list(record.source_classes), list(plan.source_classes)),
        ("adversarial label", record.adversarial_label, plan.adversarial_label),
        ("supplanted images", _few(removed), _few(plan.removed)),
    ):
        if found != wanted:
            yield case.violation("V501", f"{what} {found}, but {by} {wanted}")
    yield from _bases(case, plan, by)


def _bases(case: Case, plan: Plan, by: str) -> Iterator[Finding]:
    found = case.record.slots.bases
    if len(found) != plan.keep:
        yield case.violation("V501", f"{len(found)} poisons, but the setup has {plan.keep}")
    if plan.poisons is not None:
        remaining = iter(plan.bases)
        for slot, base in enumerate(found):
            if base is None or base not in remaining:  # consumes up to the base: they keep the order they were drawn in
                message = f"base train/{base} is not, or not in this order, among the {len(plan.bases)} candidates"
                yield case.violation("V501", message, slot=slot)
                return
        return
    for slot, (base, drawn) in enumerate(zip(found, plan.bases, strict=False)):
        if base != drawn:
            yield case.violation("V501", f"base train/{base}, but {by} train/{drawn}", slot=slot)


def _few(removed: tuple[int, ...] | None) -> str:
    """Supplanted images in words that differ where they differ, and stay short."""
    if removed is None:
        return "none"
    digest = hashlib.sha256(",".join(map(str, removed)).encode()).hexdigest()[:8]
    return f"{len(removed)} ({', '.join(map(str, removed[:3]))}...; {digest})"


def _named(targets: tuple[object, ...]) -> str:
    spelled = [f"{getattr(t, 'split', 'file')}/{getattr(t, 'index', '?')}" for t in targets]
    return ", ".join(spelled) or "none"
