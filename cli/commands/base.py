"""`poisonsets base`: fill the cache of base datasets, see what is in it, and empty it."""

from pathlib import Path
from typing import Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.cli.base_summary import found, show
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_settings, in_what
from poisonsets.door.cache import cache_folder

app = typer.Typer(help="Base datasets: fill the cache, list it, empty it.", no_args_is_help=True)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="digits, cifar10, tinyimagenet:PATH, webdataset:PATH ...")],
    source: Annotated[Path | None, in_what("--from", help="The folder or file that holds the dataset.")] = None,
    fetch: Annotated[bool, in_what("--download", help="Fetch it (cifar10, cifar100).")] = False,
    holdout: Annotated[
        str | None, in_settings(metavar="SHARE", help="Share of the images to test on, without a test split: 5%.")
    ] = None,
    split_seed: Annotated[int | None, in_settings(min=0, help="Seed of the held-out share. Default: 0.")] = None,
    resize: Annotated[int | None, in_settings(min=1, help="Resize the images to N x N.")] = None,
    train: Annotated[
        list[str] | None, in_settings(metavar="GLOB", help="What belongs to the training split: folders, shards.")
    ] = None,
    test: Annotated[
        list[str] | None, in_settings(metavar="GLOB", help="What belongs to the test split. Both can be repeated.")
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Read a dataset once and keep it in the cache with these options, pinned by digests of its pixels and labels."""
    import tempfile
    from dataclasses import replace

    from poisonsets.cli.download import download
    from poisonsets.manifests.bases.cache import add_base
    from poisonsets.manifests.bases.spec import parse_spec
    from poisonsets.manifests.errors import UsageError

    if fetch and source is not None:
        raise UsageError("--from and --download exclude one another", "Give one of them")
    with tempfile.TemporaryDirectory() as scratch, output.progress(f"reading {name}", quiet=quiet) as report:
        spec = parse_spec(
            name,
            source=source,
            holdout=holdout,
            split_seed=split_seed,
            resize=resize,
            train=train or (),
            test=test or (),
        )
        if fetch:
            spec = replace(spec, path=download(spec.kind.name, Path(scratch)))
        base = add_base(spec, cache=cache_folder(), progress=report)
    if as_json:
        document = {"schema_version": 1, "base": base.pin().model_dump(mode="json"), "read": found(base)}
        output.document(document)
    else:
        show(base)


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the bases by the names that open them, with digests and sizes."""
    from poisonsets.manifests.bases.cache import list_bases

    found = list_bases(cache_folder())
    rows = [
        {
            "name": one.name,
            "spec": one.spec,
            "splits": {} if one.pin is None else one.pin.model_dump(mode="json")["splits"],
            "bytes": one.bytes,
            "file": str(one.file) if one.bytes else None,
            "problem": str(one.problem or ""),
        }
        for one in found
    ]
    total = sum(one.bytes for one in found)
    if as_json:
        output.document({"schema_version": 1, "bases": rows, "bytes": total})
        return
    output.table(
        "Base datasets in the cache",
        ("name", "made from", "images", "digests", "bytes"),
        [
            (
                row["name"],
                row["spec"],
                "\n".join(
                    f"{name} {pin['images']} of {pin['height']}x{pin['width']}" for name, pin in row["splits"].items()
                ),
                "cannot be used" if row["problem"] else "\n".join(pin["digest"][:16] for pin in row["splits"].values()),
                f"{row['bytes']:,}" if row["bytes"] else "made on first use",
            )
            for row in rows
        ],
    )
    for row in rows:
        if row["problem"]:
            print(row["problem"])
    print(f"{total:,} bytes in all")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(autocompletion=names("bases"), help="A name of `poisonsets base list`.")],
    as_json: options.Json = False,
) -> None:
    """Remove a base from the cache; nothing is asked, and adding it again brings it back."""
    from poisonsets.manifests.bases.cache import remove_base

    removed = remove_base(name, cache=cache_folder())
    if as_json:
        output.document({"schema_version": 1, "removed": removed.name, "bytes": removed.bytes})
        return
    print(f"{removed.name}: removed, {removed.bytes:,} bytes")
