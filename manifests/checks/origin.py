"""Origin: trials that claim to be drawn from a seed are drawn again and compared."""

from __future__ import annotations

from collections.abc import Iterator

from poisonsets.manifests.checks import Case, check
from poisonsets.manifests.errors import PoisonsetsError
from poisonsets.manifests.findings import Finding
from poisonsets.manifests.model import DrawnSetup
from poisonsets.manifests.setups.drawn import draw


@check("V501")
def drawn_as_declared(case: Case) -> Iterator[Finding]:
    """Target, source classes (none), adversarial label and bases are those that the declared seed draws."""
    setup = case.owner.manifest.setup
    if not isinstance(setup, DrawnSetup):
        return
    try:
        plan = draw(case.base, setup, case.trial.number)
    except PoisonsetsError as error:
        yield case.violation("V501", f"the declared setup cannot be drawn from this base: {error.message}")
        return
    record = case.record
    if record.targets != plan.targets:
        yield case.violation(
            "V501", f"target {_named(record.targets)}, but seed {setup.seed} draws {_named(plan.targets)}"
        )
    if record.source_classes:
        yield case.violation("V501", f"source classes {list(record.source_classes)}, a drawn trial has none")
    if record.adversarial_label != plan.adversarial_label:
        yield case.violation(
            "V501",
            f"adversarial label {record.adversarial_label}, but seed {setup.seed} draws {plan.adversarial_label}",
        )
    if len(record.slots.bases) != len(plan.bases):
        yield case.violation("V501", f"{len(record.slots.bases)} poisons, but the setup has {len(plan.bases)}")
    for slot, (found, drawn) in enumerate(zip(record.slots.bases, plan.bases, strict=False)):
        if found != drawn:
            yield case.violation("V501", f"base train/{found}, but seed {setup.seed} draws train/{drawn}", slot=slot)


def _named(targets: tuple[object, ...]) -> str:
    spelled = [f"{getattr(t, 'split', 'file')}/{getattr(t, 'index', '?')}" for t in targets]
    return ", ".join(spelled) or "none"
