"""Laws about what an attack says of itself: its traits, its docstring, its settings."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Annotated, Any, Literal

from poisonsets.experiments.laws.law import hold, law
from poisonsets.manifests.errors import UsageError
from poisonsets.registry import RegisteredAttack
from poisonsets.settings import Range, meanings, record_settings, spell_setting


@law("traits")
def the_traits_fit_together(entry: RegisteredAttack) -> None:
    """The traits fit together: something is perturbed, minimised or relabelled, and an objective has a network."""
    traits = entry.traits
    acts = traits.perturbs or traits.objective != "none" or traits.labels == "adversarial"
    hold(acts, "it neither perturbs nor minimises nor changes labels", "one of them")
    sees = traits.objective == "none" or bool(traits.needs & {"features", "gradients", "robust"})
    hold(sees, f"objective={traits.objective!r} without a network", "needs={'features'} or {'gradients'}")
    bounded = traits.constrained or "trigger" in traits.needs
    hold(bounded, "constrained=False without a trigger", "something that says what poisons may be")


@law("docstring")
def the_docstring_cites_its_paper(entry: RegisteredAttack) -> None:
    """The docstring cites its paper by author and year, and says what differs."""
    doc = inspect.getdoc(entry.factory) or ""
    hold(len(doc.partition("\n")[0]) > 20, "no first line of more than 20 characters", "what the attack does")
    hold(bool(re.search(r"what differs", doc, re.IGNORECASE)), "no `What differs`", "what differs from the paper")
    if entry.source.startswith("none"):
        hold("there is none" in doc, "source='none...'", "`What differs from a paper: there is none.`")
        return
    papers = re.findall(r"([A-Z][\w-]+)[^;0-9]*([0-9]{4})", entry.source)
    hold(bool(papers), f"source={entry.source!r}", "an author and a year, like 'Shafahi et al. 2018', or 'none: ...'")
    cited = any(author in doc and year in doc for author, year in papers)
    hold(cited, "a docstring that names none of its papers", f"{' '.join(papers[0])} in it")


@law("settings")
def every_setting_is_described_and_bounded(entry: RegisteredAttack) -> None:
    """Every setting has a meaning of two words or more, and a range that its default lies in."""
    try:
        described = meanings(entry.factory)
    except UsageError as error:
        hold(False, str(error.message), error.remedy)
        raise
    missing = [name for name in entry.defaults() if len(described.get(name, "").split()) < 2]
    hold(not missing, f"no words for {', '.join(missing)}", "a line for each under `Args:`")
    unknown = sorted(set(described) - set(entry.defaults()))
    hold(not unknown, f"words for {', '.join(unknown)}, which are no settings", "settings alone")
    hints = typing.get_type_hints(entry.factory, include_extras=True)
    for name, default in entry.defaults().items():
        _bounded(name, default, hints[name])


@law("defaults")
def defaults_survive_being_recorded(entry: RegisteredAttack) -> None:
    """Defaults that are recorded and given again are the same."""
    written = record_settings(entry.defaults())
    again = entry.settings({key: spell_setting(value) for key, value in written.items()})
    changed = [key for key, value in entry.defaults().items() if again[key] != value]
    hold(not changed, f"another value of {', '.join(changed)}", "a default that its type can spell")


def _bounded(name: str, default: Any, wanted: Any) -> None:
    ranges = []
    if typing.get_origin(wanted) is Annotated:
        wanted, *notes = typing.get_args(wanted)
        ranges = [note for note in notes if isinstance(note, Range)]
    if wanted in (int, float):
        hold(type(default) is wanted, f"{name}={default!r}", f"a default of type {wanted.__name__}")
        hold(len(ranges) == 1, f"{name} has no range", f"Annotated[{wanted.__name__}, Range(least, most)]")
        inside = ranges[0].least <= default <= ranges[0].most and ranges[0].least < ranges[0].most
        hold(inside, f"{name}={default!r} outside its range", f"{ranges[0].least:g} to {ranges[0].most:g}")
    elif typing.get_origin(wanted) is Literal:
        hold(default in typing.get_args(wanted), f"{name}={default!r}", f"one of {typing.get_args(wanted)}")
    else:
        hold(wanted is bool, f"{name} is {wanted}", "Annotated[int or float, Range], a Literal of strings, or bool")
