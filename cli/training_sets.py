"""`poisonsets score` of a whole training set without a manifest: what to ask, what was found, what nobody checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poisonsets.cli import output
from poisonsets.door.classes import ADVERSARIAL, label
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.manifests.bases.dataset import Base
    from poisonsets.manifests.training_sets.targets_file import TargetSpec
    from poisonsets.manifests.training_sets.training_set import OpenTrainingSet
    from poisonsets.victims.protocols import Protocol

ASK = "add `--base` and `--targets FILE.json`, or `--base`, `--source-class` and `--adversarial-label`"


@dataclass(frozen=True)
class TargetOptions:
    """The options that say what to ask the victims of a training set which does not say it itself.

    Attributes:
        targets: a targets file.
        source_classes, adversarial_label: in its place, the classes asked for and what they are meant to become, by
            number or name.
        trigger: stamped on what is asked for, `KIND[,key=value...]`.
    """

    targets: Path | None
    source_classes: tuple[str, ...]
    adversarial_label: str | None
    trigger: str | None

    @property
    def present(self) -> bool:
        """Whether any of them is."""
        return self != TargetOptions(None, (), None, None)

    def refuse_misfit(self, path: Path) -> None:
        """Refuse what they do not go with: a whole training set needs them, a poison set says it itself.

        Raises:
            UsageError: it is a poison set and they are given, or shards without a manifest and they are not, or they
                do not go together.
        """
        manifest = (path / "manifest.json").exists()
        if not self.present:
            if not manifest and _holds_shards(path):
                raise UsageError(f"{path}: no manifest.json, so no poison set", f"For a whole training set {ASK}")
        elif manifest:
            raise UsageError(
                f"{path} is a poison set, whose manifest says what to ask",
                "Leave out --targets, --source-class, --adversarial-label and --trigger",
            )
        elif self.targets is not None and (self.source_classes or self.adversarial_label is not None):
            raise UsageError("--targets says what --source-class and --adversarial-label say", "Leave one out")
        elif self.targets is None and (not self.source_classes or self.adversarial_label is None):
            raise UsageError(
                "--source-class, --adversarial-label: both are wanted, or --targets", ASK[0].upper() + ASK[1:]
            )

    def spec(self, base: Base) -> TargetSpec:
        """What they come to on the images of a base.

        Raises:
            UsageError, DamagedError, MissingError: as `read_targets`, `source_targets` and `triggers.resolve`.
        """
        from poisonsets.manifests.training_sets.targets_file import read_targets, source_targets
        from poisonsets.triggers import resolve

        if self.targets is not None:
            spec = read_targets(self.targets)
        else:
            sources = tuple(label(one, base, "--source-class") for one in self.source_classes)
            spec = source_targets(sources, label(self.adversarial_label or "", base, ADVERSARIAL))
        return spec if self.trigger is None else spec.with_trigger(resolve(self.trigger, base, seed=0)[0])


def open_with_notes(path: Path, options: TargetOptions, base: Base, *, quiet: bool) -> OpenTrainingSet:
    """The training set at a path. What was found is told before hours of training; a target that was trained on always.

    Raises:
        UsageError, DamagedError, MissingError: as `open_training_set` and `TargetOptions.spec`.
    """
    from poisonsets.manifests.training_sets.open import open_training_set

    targets = options.spec(base)
    with output.progress("reading", quiet=quiet) as tick:
        whole = open_training_set(path, base, targets, progress=tick)
    for line in whole.contents.lines():
        output.note(f"{path}: {line}", quiet=quiet)
    for line in whole.contents.warnings():
        output.note(f"WARNING: {line}")
    return whole


def composed_as_they_stand(wanted: Sequence[Protocol], path: Path, *, quiet: bool) -> list[Protocol]:
    """The protocols with the only composition that a whole training set has, its own."""
    changed = list(dict.fromkeys(replace(one, composition="trial", size=None) for one in wanted))
    if changed != list(wanted):
        named = ", ".join(one.id for one in changed)
        output.note(f"{path} is the whole training set, so victims train on it as it stands: {named}", quiet=quiet)
    return changed


def tell(whole: OpenTrainingSet) -> None:
    """Print what was found and what was not checked, below the table."""
    from poisonsets.manifests.training_sets.contents import NOT_CHECKED

    for line in (*whole.contents.lines(), *(f"WARNING: {line}" for line in whole.contents.warnings())):
        print(line)
    first = whole.trials[0]
    if first.record.source_classes:
        asked = first.record.targets[0].image_id
        print(f"the first table counts {asked} alone, the first test image of the source classes")
    if len(whole.trials) > 1:
        print(
            "all targets are asked of one victim a protocol, extractor and victim seed: "
            "intervals are about targets, not about other victims"
        )
    print("not checked: " + "; ".join(NOT_CHECKED))


def record(whole: OpenTrainingSet) -> dict[str, Any]:
    """What `--json` says of it."""
    return {**asdict(whole.contents), "warnings": whole.contents.warnings()}


def _holds_shards(path: Path) -> bool:
    if path.is_dir():
        # A poison set that lost its manifest is damaged, and for `verify` to judge.
        return any(path.glob("*.tar")) and not (path / "poisons").is_dir()
    return path.is_file() or path.suffix == ".tar"
