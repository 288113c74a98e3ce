"""What `torch.save` wrote, without torch: tensors become read-only views of the file's bytes, nothing is called.

Two forms are in circulation: a zip of one pickle and raw storages, and the older row of pickles with the storages
behind them. Tensors inside an ordinary pickle hold a file of the second form, which goes through the same interpreter.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import store
from poisonsets.manifests.files.pickles import interpreter
from poisonsets.manifests.files.pickles.machine import Allowed, Global, RefusedError, global_table
from poisonsets.manifests.files.pickles.numpy_globals import NUMPY
from poisonsets.manifests.files.pickles.storages import STORAGES, TENSORS, Storage, string
from poisonsets.manifests.files.zip_reader import Archive

ZIP: Final = b"PK\x03\x04"
MAGIC: Final = 119547037146038801333356
VERSION: Final = 1001
_FILE: Final = {**NUMPY, **TENSORS, **global_table({("torch", name): None for name in STORAGES})}


class _Claim(NamedTuple):
    """A storage as a persistent id means it: its name, the class of its values, how many."""

    key: str
    kind: str
    values: int

    @property
    def size(self) -> int:
        return self.values * STORAGES[self.kind].itemsize


def load_torch(data: bytes, where: str, more: Allowed | None = None) -> Any:
    """The value of a whole file that `torch.save` wrote: lists, dicts, numbers, and tensors as read-only arrays.

    Tensors of bfloat16 become float32, exactly; every other one shares its memory with `data`.

    Args:
        data: the file.
        where: its name, for errors.
        more: globals that are allowed beside tensors and NumPy's.

    Raises DamagedError where it is neither of the two forms, or holds anything but plain data and tensors.
    """
    allowed = {**_FILE, **(more or {})}
    return _zipped(data, where, allowed) if data[:4] == ZIP else _legacy(data, where, allowed)


def tensors(room: int, where: str) -> Allowed:
    """The globals of tensors inside an ordinary pickle of `room` bytes: its nested files hold no more in all."""
    left = room

    def nested(arguments: tuple[Any, ...]) -> Storage:
        nonlocal left
        (data,) = arguments
        if type(data) is not bytes:
            raise RefusedError("a tensor without bytes")
        left -= len(data)
        if left < 0:
            raise RefusedError("nested tensors hold more bytes than the file has")
        value = _legacy(data, f"{where}: a tensor", _FILE)
        if type(value) is not Storage:
            raise RefusedError("a nested file that is no storage")
        return value

    return {**TENSORS, ("torch.storage", "_load_from_bytes"): Global("torch.storage._load_from_bytes", nested)}


def _legacy(data: bytes, where: str, allowed: Allowed) -> Any:
    heads, at = [], 0
    for _ in range(3):
        value, at = interpreter.load_first(data, where, {}, start=at)
        heads.append(value)
    system = heads[2]
    if heads[:2] != [MAGIC, VERSION] or type(system) is not dict or _of_python_2(system, "little_endian") is not True:
        raise DamagedError(f"{where}: not a file of torch.save, or of a big-endian machine")
    claims: dict[str, _Claim] = {}

    def claim(identity: Any) -> Storage:
        found = _storage_claim(identity)
        if claims.setdefault(found.key, found) != found:
            raise RefusedError("two storages of one name")
        return Storage(None)

    # Once to learn which storages there are, and once more when their place behind the pickle is known.
    _, end = interpreter.load_first(data, where, allowed, start=at, persistent=claim)
    keys, end = interpreter.load_first(data, where, {}, start=end)
    storages = _storages(data, end, keys, claims, where)
    value, _ = interpreter.load_first(
        data, where, allowed, start=at, persistent=lambda identity: storages[_storage_claim(identity).key]
    )
    return value


def _of_python_2(values: Mapping[Any, Any], key: str) -> Any:
    """A value by its key, which Python 2 wrote as bytes."""
    return values.get(key, values.get(key.encode()))


def _storages(data: bytes, at: int, keys: Any, claims: dict[str, _Claim], where: str) -> dict[str, Storage]:
    if type(keys) is not list or any(type(key) not in (str, bytes) for key in keys):
        raise DamagedError(f"{where}: the list of storages is not one of names")
    with store.as_damage(f"{where}: the list of storages has a name that is none", ValueError):
        names = [string(key) for key in keys]
    if sorted(names) != sorted(claims):
        raise DamagedError(f"{where}: the list of storages is not that of the tensors")
    storages = {}
    for name in names:
        claim = claims[name]
        start, at = at + 8, at + 8 + claim.size
        if at > len(data) or int.from_bytes(data[start - 8 : start], "little") != claim.values:
            raise DamagedError(f"{where}: a storage of {claim.values} values is cut or of another length")
        storages[name] = Storage.of(memoryview(data)[start:at], claim.kind)
    if at != len(data):
        raise DamagedError(f"{where}: {len(data) - at} bytes follow the last storage")
    return storages


def _zipped(data: bytes, where: str, allowed: Allowed) -> Any:
    archive = Archive(data, where, deflated=True)  # TorchScript compresses its code; what tensors lie in is not
    folder = _folder(archive, where)
    if f"{folder}byteorder" in archive.sizes and archive.read(f"{folder}byteorder") != b"little":
        raise DamagedError(f"{where}: written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Storage:
        claim = _storage_claim(identity)
        if claim.key not in storages:
            raw = archive.view(f"{folder}data/{claim.key}")
            if len(raw) != claim.size:
                raise RefusedError(f"a storage of {claim.values} values in {len(raw)} bytes")
            storages[claim.key] = Storage.of(raw, claim.kind)
        return storages[claim.key]

    pickled = archive.read(f"{folder}data.pkl")
    value, end = interpreter.load_first(pickled, f"{where}: data.pkl", allowed, persistent=storage)
    if end != len(pickled):
        raise DamagedError(f"{where}: data.pkl: {len(pickled) - end} bytes follow the end of the pickle")
    return value


def _folder(archive: Archive, where: str) -> str:
    """The folder in a zip that `torch.save` wrote into."""
    if any(re.fullmatch(r"[^/]{1,200}/(constants\.pkl|code/.*)", name) for name in archive.sizes):
        raise DamagedError(f"{where}: a TorchScript file, which holds code")
    pickles = [name for name in archive.sizes if re.fullmatch(r"[^/]{1,200}/data\.pkl", name)]
    if len(pickles) != 1:
        raise DamagedError(f"{where}: a zip file that torch.save did not write: {len(pickles)} members NAME/data.pkl")
    return pickles[0].removesuffix("data.pkl")


def _storage_claim(identity: Any) -> _Claim:
    """What a persistent id means."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] not in ("storage", b"storage"):
        raise RefusedError("a persistent id that is no storage")
    _, kind, key, _device, count = identity[:5]
    if identity[5:] not in ((), (None,)):
        raise RefusedError("a view of a storage")
    name = kind.name.removeprefix("torch.") if isinstance(kind, Global) else ""
    if name not in STORAGES or type(key) not in (str, bytes) or not re.fullmatch(r"[0-9]{1,20}", string(key)):
        raise RefusedError("a persistent id of an unknown storage")
    if type(count) is not int or count < 0:
        raise RefusedError("a storage without a length")
    return _Claim(string(key), name, count)
