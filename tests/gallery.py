"""`make gallery BASE=...`: one picture an attack and a trigger, as the commands of docs/gallery.md draw them.

    python tests/gallery.py BASE [FOLDER]

Small networks and few steps, so that two cores make all of it in minutes: the pictures show what poisons look like, not
how well they work. Each is written to FOLDER (docs/images/gallery); what was there is replaced.
"""

# ruff: noqa: T201  a program for people

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"steps": "40", "restarts": "1", "retraining": "0", "sources": "64"}
POISONS, EPSILON, SEED, TRIAL = 8, 16, 0, 0
NETWORK = ("--net", "convnet", "--width", "0.25", "--images", "4000", "--epochs", "6", "--seed", str(SEED))
ROBUST = ("--adversarial", "--adversary-epsilon", "8", "--adversary-steps", "3")


def pictures(picture: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The file's name of each picture, and what `craft` is told; `picture` is a file for the trigger `image`."""
    from poisonsets.attacks import attacks
    from poisonsets.triggers import kinds

    for name, entry in attacks().items():
        given = [f"--set={key}={value}" for key, value in QUICK.items() if key in entry.defaults()]
        network = "robust" if "robust" in entry.traits.needs else "classifier"
        surrogate = ["--surrogate", f"{network}.safetensors"] if entry.traits.needs & NEEDS else []
        yield f"attack-{name}", (name, *given, *surrogate)
    for name in kinds():
        yield f"trigger-{name}", ("patch-backdoor", "--trigger", f"image,file={picture}" if name == "image" else name)


NEEDS = {"features", "gradients", "robust"}


def spelled(options: tuple[str, ...]) -> str:
    """What a reader types; one row of docs/gallery.md."""
    return " ".join(options).replace("--set=", "--set ")


def make(base: str, folder: Path) -> None:
    """Train two networks, craft every set, draw every picture."""
    from contextlib import chdir

    from poisonsets.cli.main import run

    def done(*arguments: str) -> None:
        print("poisonsets", *arguments, flush=True)
        if code := run(arguments):
            sys.exit(code)

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chdir(place):
        done("train", "--base", base, *NETWORK, "-q", "-o", "classifier.safetensors")
        done("train", "--base", base, *NETWORK, *ROBUST, "-q", "-o", "robust.safetensors")
        common = ("--base", base, "--trials", str(TRIAL), "--seed", str(SEED), "--poisons", str(POISONS))
        for name, options in pictures(_rings()):
            done("craft", *options, *common, "--epsilon", str(EPSILON), "-o", name, "-q")
            (folder / f"{name}.png").unlink(missing_ok=True)
            done("show", name, "--picture", str(folder / f"{name}.png"))


def _rings() -> str:
    """A picture for the trigger `image`: coloured rings."""
    import numpy as np
    from PIL import Image

    row, column = np.mgrid[:64, :64] - 32
    rings = np.hypot(row, column)[..., None] / (3, 4, 5)
    Image.fromarray(np.uint8(127.5 + 127.5 * np.sin(rings))).save("rings.png")
    return "rings.png"


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    make(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "docs/images/gallery").resolve())
