"""The `low-variance` trigger: an image's component along directions in which training images hardly vary."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.bases.dataset import Base, Split
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.overlay.stamp import Trigger
from poisonsets.manifests.records.triggers import ImageTrigger
from poisonsets.manifests.stream import Stream
from poisonsets.settings import Range
from poisonsets.triggers.kinds import ResolvedTrigger, Resolver, kind
from poisonsets.triggers.layout import six_decimals
from poisonsets.triggers.pictures import PICTURE_PATH

MOST_VALUES = 1 << 27  # of all training images: 1 GiB as float64


@kind("low-variance")
def low_variance(
    *,
    alpha: Annotated[float, Range(0, 1)] = 0.5,
    scale: Literal["none", "add-mean", "minmax"] = "minmax",
    variance: Annotated[float, Range(1e-6, 1)] = 0.005,
    index: Annotated[int, Range(-1, 10**9)] = -1,
    images: Annotated[int, Range(2, 100_000)] = 2000,
) -> Resolver:
    """Mix one image's part in the last principal components into every image.

    Truong et al. (2020), trigger LV: a principal component analysis of the training images; an image from outside the
    training set is projected onto the last components whose cumulative explained variance reaches 0.5 %, and mapped
    back. The paper does not say which image, whether the mean is added back, or whether the result is scaled. Unscaled,
    the part has a tenth of an image's contrast and is half negative, so a nearly black picture is mixed in: the trigger
    would be the loss of contrast. With the mean added it is nearly the mean image. Stretched to the full range
    (`minmax`, the default), a network sees the pattern itself. What differs: this choice, and that at most `images`
    training images are analysed.

    Args:
        alpha: share of the picture; published 0.5.
        scale: `none`: levels as they are, negative ones cut to 0; `add-mean`: with the mean image added; `minmax`:
            stretched to 0..255.
        variance: share of the variance that the components explain together; published 0.005.
        index: which test image; -1: drawn by the seed among the classes that victims know.
        images: training images of those classes at most, drawn by the seed; fewer if they hold more than 2**27 values.
    """

    def resolve(base: Base, seed: int) -> ResolvedTrigger:
        chosen = _drawn_image(base, seed) if index < 0 else index
        if chosen >= len(base.test.labels):
            raise UsageError(
                f"trigger low-variance: index={chosen}, the base has {len(base.test.labels)} test images",
                "Give a smaller index",
            )
        rows = _rows(base, images, seed)
        mean = rows.mean(0)
        rows -= mean
        low = low_part(rows, base.test.images[chosen].reshape(-1) - mean, variance)
        picture = _scaled(low, mean, scale).reshape(base.test.images[chosen].shape)
        record = ImageTrigger(image=PICTURE_PATH, alpha=six_decimals("alpha", alpha))
        return Trigger(record, picture), {"index": chosen}

    return resolve


def low_part(rows: NDArray[np.float64], image: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Project an image, float64 [D], onto the fewest last principal components that explain a share of the variance.

    The rows, float64 [N, D], are centred, the image by the same mean. Components without variance do not count: with
    fewer images than values most have none. Raises UsageError if all rows are equal.
    """
    few = len(rows) <= rows.shape[1]
    variances, vectors = np.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    there = variances > 1e-10 * variances[-1]  # below that share of the largest it is rounding
    if variances[-1] <= 0 or not there.any():
        raise UsageError("trigger low-variance: the training images are all equal", "Use another trigger")
    variances, vectors = variances[there], vectors[:, there]
    reached = np.cumsum(variances) / variances.sum() >= share * (1 - 1e-12)
    last = int(np.argmax(reached)) + 1
    vectors, variances = vectors[:, :last], variances[:last]
    if few:  # the components are rows.T @ vectors / sqrt(variances); never formed, as they are as large as the rows
        return np.asarray(rows.T @ (vectors @ (vectors.T @ (rows @ image) / variances)), dtype=np.float64)
    return np.asarray(vectors @ (vectors.T @ image), dtype=np.float64)


def _scaled(low: NDArray[np.float64], mean: NDArray[np.float64], scale: str) -> Images:
    if scale == "minmax":
        span = low.max() - low.min()
        low = (low - low.min()) * (255 / span) if span > 0 else np.full_like(low, 127.5)
    elif scale == "add-mean":
        low = low + mean
    return np.asarray(np.clip(np.floor(low + 0.5), 0, 255), dtype=np.uint8)


def _rows(base: Base, most: int, seed: int) -> NDArray[np.float64]:
    """The training images to analyse, float64 [N, D], in the split's order."""
    there = _of_known_classes(base, base.train)
    values = base.train.images[0].size
    count = min(len(there), most, max(2, MOST_VALUES // values))
    if count < 2:
        raise UsageError("trigger low-variance needs two training images", "Use another trigger")
    chosen = there if count == len(there) else sorted(Stream("trigger images", seed).sample(there, count))
    return base.train.images[chosen].reshape(count, values).astype(np.float64)


def _drawn_image(base: Base, seed: int) -> int:
    there = _of_known_classes(base, base.test)
    if not there:
        raise UsageError("trigger low-variance: the base has no test image", "Use another trigger")
    return Stream("trigger image", seed).choice(there)


def _of_known_classes(base: Base, split: Split) -> list[int]:
    found: list[int] = np.flatnonzero(np.isin(split.labels, base.victim_classes)).tolist()
    return found
