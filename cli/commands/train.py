"""`poisonsets train`: train a network on a base, for use as a surrogate or as a victim's extractor."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from poisonsets.cli import options, output
from poisonsets.cli.bases import named_base, refuse_unknown
from poisonsets.manifests import spelling
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.victims.training.pretraining import Normalise

NORMALISE: Final[tuple[Normalise, ...]] = ("own", "none")
AUGMENT = ("crop", "none")
ADVERSARY_LEVELS = 8
ADVERSARY_STEPS = 7


def train(
    base: options.BaseName,
    net: Annotated[str, typer.Option(help="A network of `list networks`.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The weights file, .safetensors.")],
    classes: Annotated[str | None, typer.Option(help="Labels to train on: 0-4. Default: the base's.")] = None,
    width: Annotated[str, typer.Option(help="Channel multiplier: 0.25 makes resnet18 16 channels wide.")] = "1",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    learning_rate: Annotated[str, typer.Option(help="First learning rate of SGD.")] = "0.1",
    lr_milestones: Annotated[str | None, typer.Option(help="Epochs at which the rate falls to a tenth: 10,15.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 128,
    images: Annotated[int, typer.Option(min=0, help="Train on the first N images, equally many a class; 0: all.")] = 0,
    dropout: Annotated[str, typer.Option(help="Share of each block's output values that a step drops.")] = "0",
    normalise: Annotated[str, typer.Option(help="own, by the images' mean and deviation, or none.")] = "own",
    augment: Annotated[str, typer.Option(help="crop, with mirroring where the base allows it, or none.")] = "crop",
    adversarial: Annotated[bool, typer.Option("--adversarial", help="Train on adversarial examples.")] = False,
    adversary_epsilon: Annotated[
        int | None, typer.Option(min=1, max=255, help=f"Their radius in levels of 255. Default: {ADVERSARY_LEVELS}.")
    ] = None,
    adversary_steps: Annotated[
        int | None, typer.Option(min=1, help=f"Steps an example takes. Default: {ADVERSARY_STEPS}.")
    ] = None,
    adversary_step: Annotated[
        str | None, typer.Option(help="Levels a step moves. Default: a quarter of the radius.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="Seed of weights, order, crops, masks, starts.")] = 0,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a network and write it as safetensors with its pretraining and provenance."""
    labels = None if classes is None else tuple(spelling.parse_numbers(classes, "--classes"))
    if lr_milestones is None:
        falls = tuple(sorted({epochs // 2, epochs * 3 // 4} - {0})) if epochs > 3 else ()
    else:
        falls = tuple(spelling.parse_numbers(lr_milestones, "--lr-milestones"))
    layer = options.choice("--normalise", normalise, NORMALISE) or "own"
    views = options.choice("--augment", augment, AUGMENT) or "crop"
    adversary = _adversary(adversary_epsilon, adversary_steps, adversary_step, asked=adversarial)
    refuse_unknown(base)

    from poisonsets.manifests.errors import MissingError
    from poisonsets.manifests.files import store
    from poisonsets.victims.device import resolve
    from poisonsets.victims.networks.weights import save_weights
    from poisonsets.victims.training.pretrain import provenance, train_network
    from poisonsets.victims.training.pretraining import Pretraining

    if out.exists() or out.is_symlink():
        raise MissingError(f"{out}: exists already", "Remove it or choose another name")
    store.refuse_unwritable(out)
    opened = named_base(base)
    for label in labels or ():
        if label >= len(opened.classes):
            raise UsageError(f"--classes {classes}: {opened.name} has classes 0-{len(opened.classes) - 1}")
    pretraining = Pretraining(
        net,
        labels or opened.pretrain_classes,
        epochs=epochs,
        width=width,
        batch=batch,
        learning_rate=learning_rate,
        lr_milestones=falls,
        pad=Pretraining.pad if views == "crop" else 0,
        flip=opened.mirror and views == "crop",
        seed=seed,
        dropout=dropout,
        images=images,
        normalise=layer,
        **adversary,
    )
    with output.progress(f"training {net}", quiet=quiet) as report:
        trained = train_network(pretraining, opened, device=resolve(device), progress=report)
    digest = save_weights(out, trained.network, pretraining.record(), provenance(opened, trained))
    counts = {"correct": trained.correct, "robust": trained.robust, "images": trained.images}
    if as_json:
        output.document({"schema_version": 1, "path": str(out), "digest": digest, **counts})
        return
    said = f"test accuracy {_share(trained.correct, trained.images)}"
    if trained.robust is not None:
        said += f", attacked as in training {_share(trained.robust, trained.images)}"
    print(f"{out}: {net}, {said}, digest {digest}")


def _share(correct: int, images: int) -> str:
    return f"{correct} of {images} ({output.percent(correct, images)})"


def _adversary(levels: int | None, steps: int | None, step: str | None, *, asked: bool) -> dict[str, Any]:
    """The pretraining's settings of the adversary, empty for plain training.

    Raises:
        UsageError: it has settings although none was asked for.
    """
    if not asked:
        given = {"--adversary-epsilon": levels, "--adversary-steps": steps, "--adversary-step": step}
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} {value} without --adversarial", "Give --adversarial as well")
        return {}
    radius = levels or ADVERSARY_LEVELS
    return {
        "adversary": radius,
        "adversary_steps": steps or ADVERSARY_STEPS,
        "adversary_step": step or f"{Decimal(radius) / 4:f}",
    }
