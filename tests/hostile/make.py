"""Writes the corpus: `python tests/hostile/make.py`. The same files every time, except those of the HDF5 library.

Each entry of the modules beside this one becomes one file; a cheat becomes the files in which it differs from the
golden set. `expected.json` says how each ends in each way it is offered.
"""

from __future__ import annotations

import pickle  # writes one honest file
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import numpy as np  # noqa: E402
from forge import forge  # noqa: E402
from golden.making import GOLDEN, golden_base  # noqa: E402
from hostile import archives, arrays, cheats, documents, pickles, pictures, weights  # noqa: E402

from poisonsets.manifests.files import png  # noqa: E402
from poisonsets.manifests.files.pickles import writer  # noqa: E402
from poisonsets.manifests.interop import formats  # noqa: E402
from poisonsets.manifests.sets.reader import open_set  # noqa: E402

CORPUS: Final = HERE / "corpus"
Makers = dict[str, Callable[[], bytes]]
PLAIN: Final[dict[str, tuple[str, Makers]]] = {
    "archives": (".tar", archives.ARCHIVES),
    "pictures": (".png", pictures.PICTURES),
    "manifests": (".json", documents.DOCUMENTS),
    "manifests-shown": (".json", documents.SHOWN),
    "pickles": (".pickle", pickles.PICKLES),
    "npy": (".npy", arrays.NPY),
    "npz": (".npz", arrays.NPZ),
    "weights": (".safetensors", weights.WEIGHTS),
    "rows": (".json", weights.ROWS),
    "rows-shown": (".json", weights.SHOWN),
}
HDF5: Final = {"hdf5": arrays.HDF5, "hdf5-classes": arrays.ATTRIBUTES}


def plain() -> Iterator[tuple[str, bytes]]:
    """Every file whose bytes are the same on every machine, by its path in the corpus."""
    for folder, (ending, makers) in PLAIN.items():
        for name, make in makers.items():
            yield f"{folder}/{name}{ending}", make()
    yield from ((f"honest/{name}", data) for name, data in honest())
    with tempfile.TemporaryDirectory() as scratch:
        for name, cheat in cheats.CHEATS.items():
            made = forge(GOLDEN, Path(scratch) / name, cheat)
            for path in sorted(one for one in made.rglob("*") if one.is_file()):
                inside = path.relative_to(made)
                if not (GOLDEN / inside).exists() or path.read_bytes() != (GOLDEN / inside).read_bytes():
                    yield f"sets/{name}/{inside}", path.read_bytes()


def honest() -> Iterator[tuple[str, bytes]]:
    """An honest file of each kind, to show that no way refuses everything."""
    base, opened = golden_base(), open_set(GOLDEN)
    trial = opened.trial(0)
    images, _ = trial.poisons()
    deltas = images.astype(np.float32) - base.train.images[list(trial.record.slots.bases)]
    payload = writer.dumps([np.ascontiguousarray(deltas.transpose(0, 3, 1, 2)), list(trial.record.slots.bases)])
    written = {name: dict(one.write(trial, base)) for name, one in formats.formats().items() if one.write}
    entry = {"target index": 0, "target class": 0, "base class": 1, "base indices": [1, 4, 7]}
    yield "manifest.json", documents.good()
    yield "shard.tar", (GOLDEN / "poisons" / "trial-00000-000.tar").read_bytes()
    yield "picture.png", pictures.honest()
    yield "poison.png", png.encode(images[0])
    yield "setup.pickle", pickle.dumps([entry], 2)
    yield from written["triple"].items()
    yield "perturbation.pickle", payload
    yield "packed.pth", pickles.in_a_torch_file(payload)
    yield "weights.safetensors", weights.honest()
    yield "row.json", weights.row()
    yield "poisons.npy", written["numpy"]["poisons.npy"]
    yield "poisons.npz", arrays.npz(*written["numpy"].items())


def hdf5() -> Iterator[tuple[str, bytes]]:
    """Every HDF5 file, in the bytes of the installed library."""
    for folder, makers in HDF5.items():
        for name, fill in makers.items():
            yield f"{folder}/{name}.h5", arrays.hdf5(fill)
    yield "honest/images.h5", arrays.hdf5(arrays.honest_images)


def main() -> None:
    for path, data in (*plain(), *hdf5()):
        (CORPUS / path).parent.mkdir(parents=True, exist_ok=True)
        (CORPUS / path).write_bytes(data)


if __name__ == "__main__":
    main()
