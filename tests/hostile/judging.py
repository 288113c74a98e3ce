"""Each way to offer a file of the corpus to the project, and what the project makes of it. No torch here.

A verdict is an exit code and, for a set that is judged, the codes of its findings: `3 D101`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from golden.making import GOLDEN, golden_base

import poisonsets.manifests.interop.importing.import_set as importing
from poisonsets.manifests.bases.cache import add_base
from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.bases.spec import parse_spec
from poisonsets.manifests.errors import MissingError, PoisonsetsError
from poisonsets.manifests.files import canonical_json
from poisonsets.manifests.files.safetensors_header import tensors_digest
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.format import Format
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.import_set import import_set
from poisonsets.manifests.records.base import BasePin
from poisonsets.manifests.records.trial import Unconstrained
from poisonsets.manifests.sets.reader import open_set
from poisonsets.manifests.training_sets.open import open_training_set
from poisonsets.manifests.training_sets.targets_file import source_targets
from poisonsets.manifests.trials.setup_file import read_setup
from poisonsets.manifests.verification.findings import Report
from poisonsets.manifests.verification.verify import verify

# Asked hundreds of times of one installation, and each time read from its files.
importing.version = cache(importing.version)  # type: ignore[attr-defined]
CORPUS: Final = Path(__file__).parent / "corpus"
HONEST: Final = CORPUS / "honest"


@dataclass(frozen=True)
class Verdict:
    """How an offer ended.

    Attributes:
        code: the exit code.
        findings: the codes of the findings, for a set that was judged.
        words: all messages, to search for traces of what was offered.
    """

    code: int
    findings: frozenset[str] = frozenset()
    words: str = ""

    def is_the(self, expected: str) -> bool:
        """Whether the verdict is `CODE` or `CODE FINDING`."""
        code, _, finding = expected.partition(" ")
        return self.code == int(code) and (not finding or finding in self.findings)

    def __str__(self) -> str:
        return f"{self.code} {' '.join(sorted(self.findings))}: {self.words[:200]}"


Offer = Callable[[Path, Path], Verdict]


@cache
def base() -> Base:
    return golden_base()


def find(pin: BasePin) -> Base:
    """The golden base, where its pin matches."""
    if any(pin.splits[name].digest != base().split(name).digest for name in ("train", "test")):
        raise MissingError("no such base")
    return base()


def judged(report: Report) -> Verdict:
    words = "\n".join(finding.line() for finding in report.findings)
    return Verdict(report.worst, frozenset(finding.code for finding in report.findings), words)


def said(act: Callable[[], object]) -> Verdict:
    """The verdict of work that either succeeds or is refused."""
    try:
        act()
    except PoisonsetsError as error:
        return Verdict(error.exit_code, words=str(error))
    return Verdict(0)


def rehashed(folder: Path, name: str, data: bytes) -> Path:
    """A golden set with one file replaced, and the manifest that an attacker would write for it."""
    shutil.copytree(GOLDEN, folder)
    (folder / name).write_bytes(data)
    if name == "manifest.json":
        return folder
    document = canonical_json.loads((folder / "manifest.json").read_bytes(), "golden")
    for record in document["files"]:
        if record["path"] == name:
            record |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_bytes(canonical_json.checksummed(document))
    return folder


def placed(name: str) -> Callable[[Path, Path], Path]:
    """Puts a file of the corpus where a format looks for it."""

    def put(file: Path, scratch: Path) -> Path:
        target = scratch / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        return target

    return put


def manifest(file: Path, scratch: Path) -> Verdict:
    return judged(verify(rehashed(scratch / "set", "manifest.json", file.read_bytes()), find))


def overlay(folder: Path, scratch: Path) -> Verdict:
    shutil.copytree(GOLDEN, scratch / "set")
    shutil.copytree(folder, scratch / "set", dirs_exist_ok=True)
    try:
        return judged(verify(scratch / "set", find))
    except PoisonsetsError as error:
        return Verdict(error.exit_code, words=str(error))


def a_file_of_a_set(name: str) -> Offer:
    return lambda file, scratch: judged(verify(rehashed(scratch / "set", name, file.read_bytes()), find))


def a_base(spec: str, name: str, *, honest: tuple[str, ...] = (), holdout: str = "1/3") -> Offer:
    """Offered as a base: in a folder under a name, beside honest files of these names; or by itself, without a name."""

    def offer(file: Path, scratch: Path) -> Verdict:
        for place in honest:
            placed(place)(HONEST / "poison.png", scratch / "base")
        path = placed(name)(file, scratch / "base") and scratch / "base" if name else file
        return said(lambda: add_base(parse_spec(f"{spec}:{path}", holdout=holdout), cache=scratch / "cache"))

    return offer


def an_import(form: str, name: str, *, alone: bool = False, unit: str | None = None) -> Offer:
    """Offered as one file of a foreign set whose other files are honest, or as the whole of it."""

    def offer(file: Path, scratch: Path) -> Verdict:
        theirs, chosen = scratch / "theirs", formats.formats()[form]
        if not alone:
            write_honest(theirs, chosen)
        place = next((one.relative_to(theirs).as_posix() for one in sorted(theirs.glob(name))), name)
        source = placed(place)(file, theirs)
        declared = Claims(target=0, unit=unit, adversarial_label=1, labels="adversarial", constraint=Unconstrained())
        try:
            done = import_set(
                scratch / "made", chosen, source if alone else theirs, base(), declared, name="imported", number=0
            )
        except PoisonsetsError as error:
            return Verdict(error.exit_code, words=str(error))
        return Verdict(done.worst, words="\n".join(one.line() for one in done.findings))

    return offer


def write_honest(folder: Path, form: Format) -> None:
    opened = open_set(GOLDEN)
    assert form.write is not None
    for path, data in form.write(opened.trial(0), base()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def a_training_set(file: Path, _scratch: Path) -> Verdict:
    return said(lambda: open_training_set(file, base(), source_targets([0], 1)))


def a_setup(file: Path, _scratch: Path) -> Verdict:
    return said(lambda: read_setup(file))


def in_torch(file: Path, scratch: Path) -> Verdict:
    """A payload as the value of a file in torch's older form."""
    from hostile.pickles import in_a_torch_file

    whole = scratch / "whole.pth"
    whole.write_bytes(in_a_torch_file(file.read_bytes()))
    return PACKED(whole, scratch)


def a_surrogate(file: Path, scratch: Path) -> Verdict:
    """Offered as the file of a surrogate that a set includes."""
    data = file.read_bytes()
    try:
        digest = tensors_digest(data, file.name)
    except PoisonsetsError:
        digest = hashlib.sha256(data).hexdigest()
    name = f"surrogates/{digest}.safetensors"
    shutil.copytree(GOLDEN, scratch / "set")
    placed(name)(file, scratch / "set")
    document = canonical_json.loads((scratch / "set" / "manifest.json").read_bytes(), "golden")
    document["surrogates"] = [
        {"digest": digest, "network": "convnet", "pretraining": {}, "included": True, "trials": None}
    ]
    sha256 = hashlib.sha256(data).hexdigest()
    document["files"].append({"path": name, "bytes": len(data), "sha256": sha256})
    document["files"].sort(key=lambda record: record["path"])
    (scratch / "set" / "manifest.json").write_bytes(canonical_json.checksummed(document))
    return judged(verify(scratch / "set", find))


PACKED: Final = an_import("packed", "poisons.pth", alone=True, unit="0-255")
PICTURES: Final = ("train/a/0.png", "train/b/1.png", "train/b/2.png")
# Each way by name: the folder of the corpus whose files are offered, the honest file of that kind, and how.
WAYS: Final[dict[str, tuple[str, str, Offer]]] = {
    "manifest": ("manifests", "manifest.json", manifest),
    "set": ("sets", "", overlay),
    "shard": ("archives", "shard.tar", a_file_of_a_set("poisons/trial-00000-000.tar")),
    "shards of a base": ("archives", "shard.tar", a_base("webdataset", "train-0.tar")),
    "shards of a training set": ("archives", "shard.tar", a_training_set),
    "shards of a foreign set": ("archives", "shard.tar", an_import("webdataset", "poisons-000000.tar")),
    "picture of a trigger": ("pictures", "picture.png", a_file_of_a_set("triggers/cross.png")),
    "picture of a base": ("pictures", "poison.png", a_base("folder", "train/a/x.png", honest=PICTURES)),
    "picture of a foreign set": ("pictures", "poison.png", an_import("folder", "train/*/*.png")),
    "pickle as a setup": ("pickles", "setup.pickle", a_setup),
    "pickle as poisons": ("pickles", "poisons.pickle", an_import("triple", "poisons.pickle")),
    "pickle as a target": ("pickles", "target.pickle", an_import("triple", "target.pickle")),
    "pickle in a packed file": ("pickles", "perturbation.pickle", in_torch),
    "pickle as a manifest": ("pickles", "manifest.json", manifest),
    "pickle as a surrogate": ("pickles", "weights.safetensors", a_surrogate),
    "hdf5 as a base": ("hdf5", "images.h5", a_base("hdf5", "", holdout="1/2")),
    "hdf5 as a foreign set": ("hdf5", "images.h5", an_import("hdf5", "poisons.h5")),
    "hdf5 with class names": ("hdf5-classes", "images.h5", a_base("hdf5", "", holdout="1/2")),
    "npy as poisons": ("npy", "poisons.npy", an_import("numpy", "poisons.npy")),
    "npz as poisons": ("npz", "poisons.npz", an_import("numpy", "poisons.npz", alone=True)),
    "weights as a surrogate": ("weights", "weights.safetensors", a_surrogate),
}


def offered(folder: str) -> Iterator[Path]:
    """The files, or folders of files, in one folder of the corpus."""
    return iter(sorted((CORPUS / folder).iterdir()))
