"""`poisonsets base`: fill the cache of base datasets, and see what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poisonsets.cli import options, output

if TYPE_CHECKING:
    from poisonsets.manifests.records.base import SplitPin
    from poisonsets.manifests.records.fields import Split

app = typer.Typer(help="Base datasets: fill the cache, list it.", no_args_is_help=True)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="digits, cifar10, tinyimagenet:PATH, webdataset:PATH ...")],
    source: Annotated[Path | None, typer.Option("--from", help="The folder that holds the dataset's files.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch it (cifar10, cifar100).")] = False,
    holdout: options.Holdout = None,
    split_seed: options.SplitSeed = 0,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Read a dataset once and keep it in the cache, pinned by digests of its pixels and labels."""
    import tempfile

    from poisonsets.cli.download import fetched
    from poisonsets.manifests.bases.cache import add as fill
    from poisonsets.manifests.errors import UsageError

    if download and source is not None:
        raise UsageError("--from and --download exclude one another", "Give one of them")
    with tempfile.TemporaryDirectory() as scratch, output.progress(f"reading {name}", quiet=quiet) as report:
        if download:
            source = fetched(name, Path(scratch))
        base = fill(
            name,
            cache=options.cache_folder(),
            source=source,
            holdout=holdout,
            split_seed=split_seed,
            resize=resize,
            progress=lambda done, total: report(done, total or done + 1),
        )
    if as_json:
        output.document({"schema_version": 1, "base": base.pin().model_dump(mode="json")})
        return
    for split in ("train", "test"):
        pin = base.split(split).pin()
        print(f"{base.name} {split}: {pin.images} images of {pin.height}x{pin.width}, digest {pin.digest}")


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the cached bases with their digests."""
    from dataclasses import asdict

    from poisonsets.manifests.bases.cache import list_bases

    found = list_bases(options.cache_folder())
    if as_json:
        rows = [{**asdict(one), "file": one.file and str(one.file), "splits": _pins(one.splits)} for one in found]
        output.document({"schema_version": 1, "bases": rows})
        return
    output.table(
        "Base datasets in the cache",
        ("name", "added as", "images", "digests"),
        [
            (
                one.name,
                one.spec + one.options,
                "\n".join(f"{name} {pin.images} of {pin.height}x{pin.width}" for name, pin in one.splits.items()),
                one.problem or "\n".join(pin.digest[:16] for pin in one.splits.values()) or "made on first use",
            )
            for one in found
        ],
    )


def _pins(splits: Mapping[Split, SplitPin]) -> dict[str, Any]:
    return {name: pin.model_dump(mode="json") for name, pin in splits.items()}
