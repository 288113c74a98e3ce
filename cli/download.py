"""Fetch the archives that torchvision knows. The only code of the project that touches the network."""

from pathlib import Path
from urllib.error import URLError

from poisonsets.manifests.errors import MissingError, UsageError


def download(name: str, folder: Path) -> Path:
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
    from poisonsets.manifests.bases.registry import kinds

    known = [kind.name for kind in kinds().values() if kind.download]
    if name not in known:
        raise UsageError(f"{name} cannot be downloaded", f"Known are {', '.join(known)}; use --from PATH")
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    source = getattr(datasets, name.upper())
    try:
        download_and_extract_archive(source.url, str(folder), filename=source.filename, md5=source.tgz_md5)
    except (URLError, OSError, RuntimeError) as error:
        raise MissingError(
            f"{name}: the download failed ({str(error)[:120]})",
            f"Fetch {source.url}, extract it, and type `poisonsets base add {name} --from FOLDER`",
        ) from error
    return folder
