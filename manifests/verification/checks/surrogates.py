"""Surrogates: an included network has the digest that the manifest names."""

from collections.abc import Iterator

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files.safetensors_header import tensors_digest
from poisonsets.manifests.verification.check_registry import check_set
from poisonsets.manifests.verification.findings import Finding
from poisonsets.manifests.verification.subjects import CheckedSet


@check_set("V107")
def surrogates_as_declared(checked: CheckedSet) -> Iterator[Finding]:
    """Every included surrogate's file holds the tensors that its digest names."""
    listed = {record.path for record in checked.opened.manifest.files}
    for one in checked.opened.manifest.surrogates:
        path = f"surrogates/{one.digest}.safetensors"
        if not one.included or path not in listed:
            continue
        data = checked.opened.read(path)
        try:
            found = tensors_digest(data, path)
        except DamagedError as error:  # every hash is right, so this is what the author published
            yield Finding("V107", error.message, part=path)
            continue
        if found != one.digest:
            yield Finding("V107", f"its tensors have digest {found[:12]}...", part=path)
