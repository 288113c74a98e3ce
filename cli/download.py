"""Fetch the archives that torchvision knows. The only code of the project that touches the network."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

from poisonsets.manifests.errors import MissingError, UsageError

DOWNLOADABLE = ("cifar10", "cifar100")


def fetched(name: str, folder: Path) -> Path:
    """Download and unpack a dataset's archive, its MD5 checked by torchvision; nothing in it is unpickled.

    Args:
        name: `cifar10` or `cifar100`.
        folder: where to put it.

    Returns:
        The folder that holds the unpacked files.

    Raises:
        UsageError: the dataset cannot be downloaded.
        MissingError: the network or the archive was refused.
    """
    if name not in DOWNLOADABLE:
        raise UsageError(f"{name} cannot be downloaded", f"Known are {', '.join(DOWNLOADABLE)}; use --from PATH")
    from torchvision.datasets import CIFAR10, CIFAR100
    from torchvision.datasets.utils import download_and_extract_archive

    known = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    try:
        download_and_extract_archive(known.url, str(folder), filename=known.filename, md5=known.tgz_md5)
    except (URLError, OSError, RuntimeError) as error:
        raise MissingError(
            f"{name}: the download failed ({str(error)[:120]})",
            f"Fetch it yourself and type --from PATH: base add {name}",
        ) from error
    return folder
