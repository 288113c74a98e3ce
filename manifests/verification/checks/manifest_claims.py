"""The manifest: its content digest, its pin of the base, and the purpose of every file it lists."""

from collections.abc import Iterator

from poisonsets.manifests.records import identity
from poisonsets.manifests.records.trial import FileTarget
from poisonsets.manifests.sets.reader import TARGETS
from poisonsets.manifests.sets.writer import CARD, MANIFEST
from poisonsets.manifests.verification.check_registry import check_set
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedSet


@check_set("V101")
def content_digest_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """The declared content digest is that of the declared contents."""
    manifest = checked.opened.manifest
    found, declared = identity.content_digest(manifest), manifest.content_digest
    if found != declared:
        yield Finding("V101", f"content digest {found[:12]}..., declared {declared[:12]}...", part=MANIFEST)


@check_set("V102")
def every_file_has_a_purpose(checked: CheckedSet) -> Iterator[Finding]:
    """Every listed file is a declared trial's shard, trigger's picture, surrogate, target file or the card."""
    manifest = checked.opened.manifest
    wanted = {path for trial in checked.opened.trials for path in trial.shards()}
    wanted |= {CARD} | set(manifest.trigger_pixels)
    surrogates = {f"surrogates/{one.digest}.safetensors" for one in manifest.surrogates if one.included}
    if any(isinstance(target, FileTarget) for trial in manifest.trials for target in trial.targets):
        wanted.add(TARGETS)
    listed = {record.path for record in manifest.files}
    for path in sorted(listed - wanted - surrogates):
        yield Finding("V102", "listed, but nothing in the manifest refers to it", part=path)
    for path in sorted((wanted | surrogates) - listed):
        yield Finding("V102", "the manifest refers to it, but does not list it", part=path)


@check_set("V104")
def base_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """Sizes and number of classes of the pinned base are those of the base."""
    declared, true = checked.opened.manifest.base, checked.base.pin()
    if declared.splits != true.splits:
        yield Finding("V104", "the declared splits of the base are not the base's own", part=MANIFEST)
    if len(declared.classes) != len(true.classes):
        yield Finding("V104", f"{len(declared.classes)} classes, the base has {len(true.classes)}", part=MANIFEST)


@check_set("H101")
def class_names_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """Class names are those of the base at hand; names pin nothing, so others are worth knowing and no more."""
    base = checked.base
    pairs = zip(checked.opened.manifest.base.classes, base.classes, strict=False)
    renamed = [(label, ours, theirs) for label, (theirs, ours) in enumerate(pairs) if ours != theirs]
    if renamed:
        label, ours, theirs = renamed[0]
        message = f"class {label} is called {theirs[:60]!r}, {base.name} calls it {ours[:60]!r}; {len(renamed)} differ"
        yield Finding("H101", message, part=MANIFEST)
