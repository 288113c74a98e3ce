"""The digest that names a network, from the bytes of its safetensors file and without torch.

The format: eight little-endian bytes with the length of a JSON header; the header, from tensor name to dtype, shape
and place (`data_offsets`) with free text under `__metadata__`; the tensors' values. Equal by test to
`victims.weights.weights_digest`, which starts from a network.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, Final

from poisonsets.manifests.errors import DamagedError
from poisonsets.manifests.files import canonical_json

HEADER_BYTES: Final = 1 << 20
ITEM_BYTES: Final = {"F32": 4, "I64": 8}
NAME: Final = re.compile(r"[!-~]{1,200}")
"""A tensor's name. A space or a line feed in it could spell another tensor's line, and two networks share a digest."""


def tensors_digest(data: bytes, where: str) -> str:
    """The sha256 over the tensors in the order of their names: a line `name dtype shape`, then the values.

    Args:
        data: a safetensors file of float32 and int64 tensors.
        where: its name, for the error.

    Raises:
        DamagedError: it is none, a tensor has another dtype or a name that is not `NAME`, or bytes belong to no
            tensor or to two.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 0 < length <= min(HEADER_BYTES, len(data) - 8):
        raise DamagedError(f"{where}: not a safetensors file, or one with a header over {HEADER_BYTES} bytes")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=canonical_json.unique_keys)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{where}: its safetensors header cannot be read ({str(error)[:80]})") from error
    if odd := [name for name in tensors if not NAME.fullmatch(name)]:
        raise DamagedError(f"{where}: a tensor's name is not 1 to 200 characters from ! to ~: {odd[0][:60]!a}")
    values = memoryview(data)[8 + length :]
    at = 0
    for _, _, start, end in sorted(tensors.values(), key=lambda tensor: tensor[2:]):
        if start != at:
            raise DamagedError(f"{where}: at byte {at} of the values tensors overlap or leave a gap")
        at = end
    if at != len(values):
        raise DamagedError(f"{where}: its tensors end at byte {at} of {len(values)}")
    digest = hashlib.sha256(b"weights/1\n")
    for name, (kind, shape, start, end) in sorted(tensors.items()):
        digest.update(f"{name} {kind} {','.join(map(str, shape))}\n".encode("ascii"))
        digest.update(values[start:end])
    return digest.hexdigest()


def _tensor(entry: Any) -> tuple[str, list[int], int, int]:
    """Dtype, shape, start and end of a header's entry; its size follows from the first two."""
    kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(shape) is not list or any(type(number) is not int or number < 0 for number in (*shape, start, end)):
        raise ValueError("a shape or an offset is no list of whole numbers")
    if end - start != math.prod(shape) * ITEM_BYTES[kind]:
        raise ValueError(f"a tensor {kind} {shape} cannot have {end - start} bytes")
    return kind, shape, start, end
