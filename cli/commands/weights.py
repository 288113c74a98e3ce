"""`poisonsets weights`: bring networks that others trained, see what is in the cache, and remove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_output, in_settings, in_what
from poisonsets.door.cache import cache_folder
from poisonsets.manifests import spelling

if TYPE_CHECKING:
    from poisonsets.victims.networks.weights import Weights

NAMES_BYTES = 8 << 20
app = typer.Typer(help="Pretrained weights: bring them, list them, remove them.", no_args_is_help=True)


@app.command("add")
def add(
    source: Annotated[
        str, typer.Argument(metavar="FILE|NAME", help="A state dict; or efficientnet-lite0, -lite1 or -lite2.")
    ],
    net: Annotated[
        str | None,
        in_what(autocompletion=names("networks"), help="The network they are of: timm:resnet50, torchvision:resnet18."),
    ] = None,
    name: Annotated[str | None, in_what(help="What to call them. Default: the file's name.")] = None,
    trained_on: Annotated[
        str | None, in_what(metavar="DATASET", help="What they were trained on: imagenet-1k, cifar10 ...")
    ] = None,
    licence: Annotated[str | None, in_what(metavar="TEXT", help="Their licence, for the record.")] = None,
    by_order: Annotated[
        bool, in_settings("--by-order", help="Match tensors by order and shape, whatever they are called.")
    ] = False,
    mean: Annotated[
        str | None, in_settings(metavar="R,G,B", help="Mean of the channels, in 0..1. Default: as published.")
    ] = None,
    std: Annotated[str | None, in_settings(metavar="R,G,B", help="Their standard deviation, likewise.")] = None,
    drop_head: Annotated[bool, in_settings("--drop-head", help="Leave out the layer that tells classes.")] = False,
    class_names: Annotated[
        Path | None, in_settings(metavar="FILE", help="Names of the classes it tells, one a line.")
    ] = None,
    misfits: Annotated[
        bool, in_output("--misfits", help="Where tensors do not fit, list every key on stdout.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Read weights that others published and keep them: their name then serves wherever a weights file does."""
    from poisonsets.victims.networks.imported_weights import Description
    from poisonsets.victims.networks.matching import MisfitError
    from poisonsets.victims.networks.weights_cache import add_weights

    said = Description(
        net,
        by_order,
        not drop_head,
        None if mean is None else spelling.parse_three(mean, "--mean"),
        None if std is None else spelling.parse_three(std, "--std"),
        licence,
        trained_on,
        None if class_names is None else _lines(class_names),
    )
    try:
        weights, left_out = add_weights(source, said, cache=cache_folder(), name=name)
    except MisfitError as error:
        if misfits and not as_json:
            output.table("", ("key", "is"), [(key, kind) for kind, key in error.rows])
        raise
    _tell(weights, left_out, as_json=as_json)


@app.command("list")
def list_(
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files, or folders such as RESULTS/victims. Default: the cache."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the weights in the cache, imported ones and default networks of bases, or those of files and folders."""
    from poisonsets.cli.listings import LISTS, weights_row
    from poisonsets.victims.networks.weights_cache import list_files

    rows = [weights_row(one) for one in list_files(places)] if places else LISTS["weights"]()
    total = sum(row["bytes"] for row in rows)
    if as_json:
        output.document({"schema_version": 1, "weights": rows, "bytes": total})
        return
    columns = ("name", "network", "classes", "trained on", "digest", "bytes")
    title = f"Weights in {', '.join(map(str, places))}" if places else "Weights in the cache"
    output.table(title, columns, [[_cell(row[column]) for column in columns] for row in rows])
    for row in rows:
        if row["problem"]:
            print(spelling.printable(row["problem"]))
    print(f"{total:,} bytes in all")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(autocompletion=names("weights"), help="A name of `poisonsets weights list`.")],
    as_json: options.Json = False,
) -> None:
    """Remove weights from the cache; nothing is asked, and adding them again brings them back."""
    from poisonsets.victims.networks.weights_cache import remove_weights

    removed = remove_weights(name, cache=cache_folder())
    if as_json:
        output.document({"schema_version": 1, "removed": removed.name, "bytes": removed.bytes})
        return
    print(f"{removed.name}: removed, {removed.bytes:,} bytes")


def _lines(path: Path) -> tuple[str, ...]:
    from poisonsets.manifests.files import store

    data = store.read_file(path, NAMES_BYTES, follow=True)
    with store.as_damage(f"{path}: no text", UnicodeDecodeError, remedy="Give a text file with one name a line"):
        return tuple(line.strip() for line in data.decode().splitlines() if line.strip())


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value or "unknown")[:64]


def _tell(weights: Weights, left_out: tuple[str, ...], *, as_json: bool) -> None:
    record, name = weights.record, weights.path.stem
    head = bool(record["pretraining"].get("head", True))
    if as_json:
        output.document(
            {
                "schema_version": 1,
                "name": name,
                "path": str(weights.path),
                "network": record["network"],
                "digest": weights.digest,
                "classes": len(record["classes"]) if head else 0,
                "dataset": weights.dataset,
                "left_out": list(left_out),
            }
        )
        return
    kept = f"a head of {len(record['classes'])} classes" if head else "no head"
    print(
        f"{name}: {record['network']} with {kept}, trained on {weights.dataset or 'what nobody said'}, "
        f"digest {weights.digest}"
    )
    if left_out:
        listed = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
        output.note(f"left out: {len(left_out)} tensor{'' if len(left_out) == 1 else 's'} of the file ({listed})")
