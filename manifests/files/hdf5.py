"""HDF5 read so that a file can neither point elsewhere nor claim more than it holds.

Refused before any value is read: external storage, virtual datasets, external and soft links on the way,
filters other than gzip and shuffle, anything but integers, storage that is not all there, and arrays past a
limit.
"""

import codecs
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError, MissingError
from poisonsets.manifests.files import canonical_json, store
from poisonsets.manifests.limits import FILE_BYTES

FILTERS: Final = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE})
LAYOUTS: Final = frozenset({h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED})
CHUNK_BYTES: Final = 256 << 20
DEFLATE_RATIO: Final = 1040  # deflate cannot expand further (1032), headers aside
ATTRIBUTE_BYTES: Final = 8 << 20
NAMES: Final = 10_000  # in one group
codecs.lookup("ascii")  # h5py would load it for the first text of fixed length, in the midst of reading
BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, AttributeError)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading.

    Raises:
        MissingError: it does not exist or may not be opened.
        DamagedError: it is no regular file or no HDF5 file.
    """
    if not path.exists():
        raise MissingError(f"{path}: no such file")
    if not path.is_file():
        raise DamagedError(f"{path}: not a regular file")
    try:
        file = h5py.File(path, "r")
    except PermissionError as error:
        raise MissingError(f"{path}: cannot be opened ({store.reason(error)})") from error
    except BROKEN as error:
        raise DamagedError(f"{path}: not a readable HDF5 file ({store.reason(error)})") from error
    with file:
        yield file


def contains(file: h5py.File, name: str) -> bool:
    """Whether the path exists by hard links alone; other links count as existing and `read` refuses them."""
    try:
        return file.get(name, getlink=True) is not None
    except BROKEN:
        return False


def datasets(file: h5py.File) -> list[str]:
    """The paths of whatever is in the file and in its groups, groups within groups left out; nothing is followed.

    Raises DamagedError where there are more than `NAMES`.
    """
    found: list[str] = []
    try:
        for name in _names(file, file.filename):
            link = file.get(name, getlink=True)
            group = isinstance(link, h5py.HardLink) and file.get(name, getclass=True) is h5py.Group
            inner = _names(file[name], f"{file.filename}: {name}") if group else ()
            found += [f"{name}/{one}" for one in inner] if group else [name]
    except BROKEN as error:
        raise DamagedError(f"{file.filename}: cannot be listed ({store.reason(error)})") from error
    return found


def _names(group: h5py.Group, where: str) -> list[str]:
    if len(group) > NAMES:
        raise DamagedError(f"{where}: {len(group)} entries, at most {NAMES} are read")
    return sorted(group)


def read(file: h5py.File, name: str, *, rank: int | tuple[int, ...], limit: int = FILE_BYTES) -> NDArray[Any]:
    """An array of integers.

    Args:
        file: from `opened`.
        name: the path inside the file, for instance `train/images`.
        rank: the number of dimensions wanted, or the numbers that are.
        limit: the most bytes it may have.

    Raises:
        DamagedError: it is missing, is not such an array, or is stored in a way that is refused.
    """
    where = f"{file.filename}: {name}"
    try:
        dataset = _dataset(file, name, where)
        _check_storage(dataset, rank, limit, where)
        values: NDArray[Any] = h5py.Dataset(dataset)[()]
    except BROKEN as error:
        raise DamagedError(f"{where}: cannot be read ({store.reason(error)})") from error
    return values


def _dataset(file: h5py.File, name: str, where: str) -> Any:
    """The low-level dataset, opened so that no link other than a hard one is followed."""
    place = file.id
    *groups, last = name.encode().split(b"/")
    for part in groups:
        _check_link(place, part, where)
        place = h5py.h5g.open(place, part)
    _check_link(place, last, where)
    return h5py.h5d.open(place, last)


def _check_link(place: Any, part: bytes, where: str) -> None:
    if part not in place:
        raise DamagedError(f"{where} is missing")
    if place.links.get_info(part).type != h5py.h5l.TYPE_HARD:
        raise DamagedError(f"{where} is reached by a soft or external link, which is refused")


def _check_storage(dataset: Any, rank: int | tuple[int, ...], limit: int, where: str) -> None:
    # The order matters: asking a virtual dataset for its shape may open other files.
    plist = dataset.get_create_plist()
    if plist.get_layout() not in LAYOUTS:
        raise DamagedError(f"{where} is a virtual dataset, which is refused")
    if plist.get_external_count():
        raise DamagedError(f"{where} is stored in another file, which is refused")
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if not filters <= FILTERS:
        raise DamagedError(f"{where} uses filter {min(filters - FILTERS)}; only gzip and shuffle are read")
    kind = dataset.get_type()
    if kind.get_class() != h5py.h5t.INTEGER or kind.get_size() > 8:
        raise DamagedError(f"{where} does not hold integers of at most 64 bits")
    shape = dataset.shape
    ranks = (rank,) if isinstance(rank, int) else rank
    if len(shape) not in ranks:
        raise DamagedError(f"{where} has {len(shape)} dimensions, {' or '.join(map(str, ranks))} were expected")
    claimed = math.prod(shape) * kind.get_size()
    if claimed > limit:
        raise DamagedError(f"{where} claims {claimed} bytes, at most {limit} are read")
    _check_allocated(dataset, plist, shape, claimed, where)


def _check_allocated(dataset: Any, plist: Any, shape: tuple[int, ...], claimed: int, where: str) -> None:
    """Unwritten parts would be filled in on reading: a small file could claim any size."""
    stored = dataset.get_storage_size()
    if plist.get_layout() != h5py.h5d.CHUNKED:
        complete = stored == claimed
    else:
        chunk = plist.get_chunk()
        if math.prod(chunk) * dataset.get_type().get_size() > CHUNK_BYTES:
            raise DamagedError(f"{where} has chunks of more than {CHUNK_BYTES} bytes")
        wanted = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        complete = dataset.get_num_chunks() == wanted and claimed <= stored * DEFLATE_RATIO
    if not complete:
        raise DamagedError(f"{where} claims {claimed} bytes but the file does not hold all of them")


def read_json(file: h5py.File, name: str) -> Any:
    """The JSON document in a text attribute of the file, or None where there is no such attribute; texts are a list.

    Raises:
        DamagedError: the attribute is neither one text that is JSON nor an array [N] of texts, or is too long.
    """
    where = f"{file.filename}: attribute {name}"
    try:
        if name not in file.attrs:
            return None
        attribute = file.attrs.get_id(name)
        if attribute.get_type().get_class() != h5py.h5t.STRING or len(attribute.shape) > 1:
            raise DamagedError(f"{where} is neither one text nor a list of texts")
        if attribute.get_storage_size() > ATTRIBUTE_BYTES:
            raise DamagedError(f"{where} is longer than {ATTRIBUTE_BYTES} bytes")
        texts = [
            text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
            for text in np.asarray(file.attrs[name]).reshape(-1)
        ]
        # A single text is a document, as this project writes it; one class alone is no dataset.
        return canonical_json.parse(texts[0], where) if len(texts) == 1 else [text.decode() for text in texts]
    except (*BROKEN, RecursionError) as error:
        raise DamagedError(f"{where}: cannot be read as JSON ({store.reason(error)})") from error
