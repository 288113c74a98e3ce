"""`poisonsets train`: train a network on a base, for use as a surrogate or as a victim's extractor."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from poisonsets.cli import options, output
from poisonsets.cli.listings import names
from poisonsets.cli.options import in_output, in_settings, in_what
from poisonsets.door.bases import named_base
from poisonsets.door.classes import labels
from poisonsets.manifests.errors import UsageError

if TYPE_CHECKING:
    from poisonsets.victims.training.pretrain import TrainedNetwork

in_adversary = partial(typer.Option, rich_help_panel="Adversarial training")
ADVERSARY_LEVELS = 8
ADVERSARY_STEPS = 7


def train(
    *,
    base: options.BaseName,
    net: Annotated[
        str,
        in_what(autocompletion=names("networks"), help="Of `poisonsets list networks`: NAME or NAME@input=96."),
    ],
    classes: Annotated[str | None, in_what(help="Classes to train on: 0-4. Default: the base's own choice.")] = None,
    images: Annotated[int, in_what(min=0, help="Train on the first N images, equally many a class; 0: all.")] = 0,
    width: Annotated[str, in_what(help="Channel multiplier: 0.25 makes resnet18 16 channels wide.")] = "1",
    normalise: Annotated[
        Literal["own", "none"], in_what(help="own: the first layer takes the images' mean and deviation; none: 0..1.")
    ] = "own",
    epochs: Annotated[int, in_settings(min=1, help="Passes over the training images.")] = 20,
    learning_rate: Annotated[str, in_settings(help="First learning rate of SGD.")] = "0.1",
    lr_milestones: Annotated[
        options.Numbers | None,
        in_settings(
            parser=options.numbers("--lr-milestones"),
            metavar="NUMBERS",
            help="Epochs at which the rate falls to a tenth: 10,15. Default: at a half and three quarters.",
        ),
    ] = None,
    batch: Annotated[int, in_settings(min=1, help="Images a step.")] = 128,
    dropout: Annotated[
        Fraction,
        in_settings(
            parser=options.share("--dropout"),
            metavar="SHARE",
            help="Share of each block's output values that a step drops: 1/4, 0.25 or 25%.",
        ),
    ] = Fraction(0),
    augment: Annotated[
        Literal["crop", "none"], in_settings(help="crop: shifted by up to 4 pixels, mirrored where the base may be.")
    ] = "crop",
    seed: Annotated[int, in_settings(min=0, max=2**53, help="Seed of weights, order, crops, masks, starts.")] = 0,
    adversarial: Annotated[bool, in_adversary("--adversarial", help="Train on adversarial examples.")] = False,
    adversary_epsilon: Annotated[
        int | None, in_adversary(min=1, max=255, help=f"Their radius in levels of 255. Default: {ADVERSARY_LEVELS}.")
    ] = None,
    adversary_steps: Annotated[
        int | None, in_adversary(min=1, help=f"Ascent steps an example takes. Default: {ADVERSARY_STEPS}.")
    ] = None,
    adversary_step: Annotated[
        str | None, in_adversary(help="Levels a step moves a value. Default: a quarter of the radius.")
    ] = None,
    precision: Annotated[
        options.Precision, in_settings(help="The arithmetic of the passes in training; tf32 on a GPU.")
    ] = "fp32",
    device: options.Device = "auto",
    out: Annotated[Path, in_output("-o", "--output", help="The weights file, .safetensors; it must not exist.")],
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a network and write it as safetensors with its pretraining and provenance."""
    from poisonsets.manifests.files import store

    adversary = _adversary(adversary_epsilon, adversary_steps, adversary_step, asked=adversarial)
    store.refuse_existing(out)
    opened = named_base(base)
    chosen = opened.pretrain_classes if classes is None else labels(classes, opened, "--classes")

    from poisonsets.manifests.memory import keep_freed_memory
    from poisonsets.victims.networks.shape import parse_shape
    from poisonsets.victims.networks.weights import save_weights
    from poisonsets.victims.placement import resolve
    from poisonsets.victims.training.pretrain import provenance, train_network
    from poisonsets.victims.training.pretraining import Pretraining

    shape = parse_shape(net)
    if width != "1" and shape.width != "1":
        raise UsageError(f"--net {net} with --width {width}", "Give the width once")
    pretraining = Pretraining(
        shape.name,
        chosen,
        epochs=epochs,
        width=width if shape.width == "1" else shape.width,
        input=shape.input,
        batch=batch,
        learning_rate=learning_rate,
        lr_milestones=_milestones(epochs) if lr_milestones is None else tuple(lr_milestones),
        pad=Pretraining.pad if augment == "crop" else 0,
        flip=opened.mirror and augment == "crop",
        seed=seed,
        dropout=_decimal(dropout),
        images=images,
        normalise=normalise,
        precision=precision,
        **adversary,
    )
    keep_freed_memory()
    with output.progress(f"training {net}", quiet=quiet) as report:
        trained = train_network(pretraining, opened, device=resolve(device), progress=report)
    digest = save_weights(out, trained.network, pretraining.record(), provenance(opened, trained))
    _tell(out, net, trained, digest, as_json=as_json)


def _tell(out: Path, net: str, trained: TrainedNetwork, digest: str, *, as_json: bool) -> None:
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


def _milestones(epochs: int) -> tuple[int, ...]:
    """Half and three quarters of the epochs, where there are enough."""
    return tuple(sorted({epochs // 2, epochs * 3 // 4} - {0})) if epochs > 3 else ()


def _decimal(share: Fraction) -> str:
    """A share as the decimal that a pretraining records.

    Raises:
        UsageError: it has none that ends.
    """
    found = f"{Decimal(share.numerator) / share.denominator:f}"
    if Fraction(found) != share:
        raise UsageError(f"--dropout {share}: no decimal of it ends", f"Write {float(share):.2f}")
    return found


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
