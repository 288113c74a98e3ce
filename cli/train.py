"""`poisonsets train`: train a network on a base, for use as a surrogate or as a victim's extractor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poisonsets.cli import options, output
from poisonsets.manifests import ranges


def train(
    base: options.BaseName,
    net: Annotated[str, typer.Option(help="Network name: convnet, resnet18.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The weights file, .safetensors.")],
    classes: Annotated[str | None, typer.Option(help="Labels to train on: 0-4. Default: the base's.")] = None,
    width: Annotated[str, typer.Option(help="Channel multiplier: 0.25 makes resnet18 16 channels wide.")] = "1",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    learning_rate: Annotated[str, typer.Option(help="First learning rate of SGD.")] = "0.1",
    drops: Annotated[str | None, typer.Option(help="Epochs at which the rate falls to a tenth: 10,15.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 128,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed of weights, order and crops.")] = 0,
    device: options.Device = "auto",
    holdout: options.Holdout = None,
    split_seed: options.SplitSeed = 0,
    resize: options.Resize = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a network and write it as safetensors with its recipe and provenance."""
    labels = None if classes is None else tuple(ranges.parsed(classes, "--classes"))
    if drops is None:
        falls = tuple(sorted({epochs // 2, epochs * 3 // 4} - {0})) if epochs > 3 else ()
    else:
        falls = tuple(ranges.parsed(drops, "--drops"))

    from poisonsets.manifests import store
    from poisonsets.manifests.bases.cache import open_base
    from poisonsets.manifests.errors import MissingError, UsageError
    from poisonsets.victims.device import resolve
    from poisonsets.victims.recipes import Recipe
    from poisonsets.victims.training import provenance, train_network
    from poisonsets.victims.weights import save_weights

    if out.exists() or out.is_symlink():
        raise MissingError(f"{out}: exists already", "Remove it or choose another name")
    store.refuse_unwritable(out)
    opened = open_base(base, cache=options.cache_folder(), holdout=holdout, split_seed=split_seed, resize=resize)
    for label in labels or ():
        if label >= len(opened.classes):
            raise UsageError(f"--classes {classes}: {opened.name} has classes 0-{len(opened.classes) - 1}")
    recipe = Recipe(
        net,
        labels or opened.pretrain_classes,
        epochs=epochs,
        width=width,
        batch=batch,
        learning_rate=learning_rate,
        drops=falls,
        flip=opened.mirror,
        seed=seed,
    )
    with output.progress(f"training {net}", quiet=quiet) as report:
        trained = train_network(recipe, opened, device=resolve(device), progress=report)
    digest = save_weights(out, trained.network, recipe.record(), provenance(opened, trained))
    correct, images = trained.correct, trained.images
    if as_json:
        output.document({"schema_version": 1, "path": str(out), "digest": digest, "correct": correct, "images": images})
    else:
        print(f"{out}: {net}, test accuracy {correct} of {images} ({output.percent(correct, images)}), digest {digest}")
