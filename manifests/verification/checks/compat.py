"""The verdict of the published benchmark's own checker, for comparison with its table."""

from collections.abc import Iterator

from poisonsets.manifests.verification.check_registry import check_figures
from poisonsets.manifests.verification.figures import ACCEPTED_LEVELS, Figures
from poisonsets.manifests.verification.findings import Finding


@check_figures("H302")
def published_checker(figures: Figures) -> Iterator[Finding]:
    """With --compat: what the published checker of Schwarzschild et al. (2021) says; always reported, never a fault.

    It asserts max |poison - base| / 255 - 9/255 < 1e-5 over the poisons with a named base, trigger pixels included:
    nine levels for a budget of eight (`learning_module.py`, lines 499 to 514). It checks neither labels nor counts.
    """
    refused, trials = figures.trials_beyond, figures.trials
    verdict = f"refuses {len(refused)} of {trials} trials" if refused else f"accepts all {trials} trials"
    message = f"the published checker {verdict} ({ACCEPTED_LEVELS} levels, labels and counts unchecked)"
    yield Finding("H302", message, trial=refused[0] if refused else None)
