"""State dicts as others publish them, read without torch: tensors by name, nothing in a file is ever called.

A file is one of safetensors or one that `torch.save` wrote, zip or older; in the latter the tensors lie bare or under
one of the keys of `HOLDERS`, and whatever lies beside them (an optimiser, counters, options) is read as data and
dropped. Prefixes that wrappers of modules put before every name are taken off.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests import limits
from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.array_file import METADATA_KEY
from poisonsets.manifests.files.pickles.machine import Call, Pending, RefusedError, global_table
from poisonsets.manifests.files.pickles.storages import string, widened
from poisonsets.manifests.files.pickles.torch_files import load_torch
from poisonsets.manifests.files.safetensors_header import FOREIGN_DTYPES, read_header

SAVE: Final = (
    "Nothing in it was executed; where you trust it, load it with torch and save its state dict: "
    "`torch.save(model.state_dict(), 'weights.pth')`"
)
AGAIN: Final = "Get the file again, or name a state dict: .safetensors, .pth, .pt or .bin"
HOLDERS: Final = ("state_dict", "net", "model", "model_state_dict")
PREFIXES: Final = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
TENSORS: Final = 10_000
# Formats of other frameworks, by the ends of their names and the bytes they begin with.
OTHERS: Final[dict[str, tuple[str, ...]]] = {
    "an ONNX file": (".onnx",),
    "an HDF5 file": (".h5", ".hdf5"),
    "a Keras file": (".keras",),
    "a TensorFlow file": (".pb", ".ckpt.index"),
    "a TensorFlow Lite file": (".tflite",),
    "a NumPy file": (".npy", ".npz"),
}
HDF5: Final = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class StateDict:
    """The tensors of a file.

    Attributes:
        tensors: by name, without the prefixes of wrappers, in the file's order; read-only, of floats (bfloat16 widened
            to float32) or integers.
        sha256: of the file's bytes.
        ordered: whether the file keeps the order of the network's layers; safetensors does not.
        ours: whether it is a weights file of this project, which says itself what it is.
    """

    tensors: dict[str, NDArray[Any]]
    sha256: str
    ordered: bool
    ours: bool = False


def read_state_dict(path: Path, *, follow: bool = False) -> StateDict:
    """The state dict in a file.

    Args:
        path: the file.
        follow: read through a link.

    Raises:
        MissingError: there is no such file, or it may not be read.
        UsageError: it holds values, but no state dict.
        DamagedError: it is a folder, a link, empty, larger than `limits.FILE_BYTES`, a file of another framework, cut
            or otherwise not what torch or safetensors wrote, or holds anything that is not data.
    """
    for what, endings in OTHERS.items():
        if path.name.lower().endswith(endings):
            raise DamagedError(f"{path}: {what} is not read", AGAIN)
    data = store.read_file(path, limits.FILE_BYTES, follow=follow, remedy=AGAIN)
    if not data:
        raise DamagedError(f"{path}: an empty file", AGAIN)
    if data.startswith(HDF5):
        raise DamagedError(f"{path}: an HDF5 file is not read", AGAIN)
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix == ".safetensors" or data[8:9] == b"{":
        return _of_safetensors(data, path, digest)
    try:
        value = load_torch(data, str(path), _BESIDE)
    except DamagedError as error:
        raise DamagedError(error.message, SAVE) from error
    return StateDict(_unwrapped(_held(value, path), path), digest, ordered=True)


def _of_safetensors(data: bytes, path: Path, digest: str) -> StateDict:
    view = memoryview(data)
    try:
        header = read_header(
            lambda start, count: view[start : start + count], len(data), str(path), dtypes=FOREIGN_DTYPES
        )
    except DamagedError as error:
        raise DamagedError(error.message, AGAIN) from error
    if isinstance(header.metadata, dict) and METADATA_KEY in header.metadata:
        return StateDict({}, digest, ordered=False, ours=True)
    arrays = header.values(lambda start, count: view[start : start + count])
    found = {name: widened(array) if header.specs[name].dtype == "BF16" else array for name, array in arrays.items()}
    return StateDict(_unwrapped(found, path), digest, ordered=False)


def _held(value: Any, path: Path) -> dict[str, NDArray[Any]]:
    """The tensors by name in a file's value.

    Raises:
        UsageError: there are none.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{path}: a {type(value).__name__} where a state dict was expected", SAVE)
    found = {_name(key): entry for key, entry in value.items()}
    for holder in HOLDERS:
        if isinstance(found.get(holder), dict):
            found = {_name(key): entry for key, entry in found[holder].items()}
            break
    others = [name for name, entry in found.items() if not isinstance(entry, np.ndarray)]
    if others or not found:
        listed = ", ".join(ascii(name)[1:-1][:40] for name in list(found)[:6]) or "none"
        raise UsageError(f"{path}: no state dict, its keys are {listed}", SAVE)
    return found


def _name(key: Any) -> str:
    try:
        return string(key) if isinstance(key, str | bytes) else str(key)
    except UnicodeDecodeError:
        return ascii(key)


def _unwrapped(tensors: Mapping[str, NDArray[Any]], path: Path) -> dict[str, NDArray[Any]]:
    if len(tensors) > TENSORS:
        raise DamagedError(f"{path}: {len(tensors)} tensors, at most {TENSORS} are read")
    found = dict(tensors)
    while prefix := next((p for p in PREFIXES if found and all(name.startswith(p) for name in found)), None):
        found = {name.removeprefix(prefix): array for name, array in found.items()}
    return found


def _first(arguments: tuple[Any, ...]) -> Any:
    """The dict or tuple that a class of collections is made from, in its place."""
    value = arguments[-1] if arguments else {}
    return value if isinstance(value, dict | tuple | str) else {}


def _attributes(arguments: tuple[Any, ...]) -> Pending:
    """An object that is nothing but its attributes."""
    if arguments:
        raise RefusedError("arguments where data has none")
    return Pending(lambda state: state)


# What training loops keep beside a state dict. Each becomes plain data, and is dropped.
_CALLS: Final[dict[tuple[str, str], Call | None]] = {
    ("collections", "Counter"): _first,
    ("collections", "defaultdict"): _first,
    ("argparse", "Namespace"): _attributes,
    ("torch", "Size"): _first,
    ("torch", "device"): _first,
    **{(module, name): None for module in ("builtins", "__builtin__") for name in ("dict", "list", "int", "float")},
}
_BESIDE: Final = global_table(_CALLS)
