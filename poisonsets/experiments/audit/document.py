"""An audit as one JSON document."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poisonsets.experiments.audit import answer
from poisonsets.experiments.audit.plan import AuditPlan
from poisonsets.experiments.audit.run import Measured, set_folder


def document(plan: AuditPlan, measured: Sequence[Measured], work: Path, page: Path, seconds: float) -> dict[str, Any]:
    """The sentence, and for each cell its set, victims, and the summary as `score --json` prints it."""
    main = answer.headline(plan, measured)
    return {
        "schema_version": 1,
        "base": plan.base.pin().model_dump(mode="json"),
        "sentence": answer.sentence(answer.claim(main)),
        "headline": main.cell.name,
        "page": str(page),
        "work": str(work),
        "seconds": f"{seconds:.1f}",
        "trials": plan.trials,
        "photographs": main.photographs,
        "cells": [
            {
                "name": one.cell.name,
                "attack": one.cell.poisoned.attack,
                "poisons": one.cell.poisoned.poisons,
                "epsilon": one.cell.poisoned.epsilon,
                "victims": one.cell.victims.kind,
                "set": str(set_folder(work, one.cell.poisoned)),
                "content_digest": one.rows[0].content_digest,
                "summary": one.summary.record(),
            }
            for one in measured
        ],
    }
