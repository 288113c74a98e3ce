"""The normalisation and image size that timm and torchvision publish for their networks' weights."""

from typing import Any, Final, NamedTuple

from poisonsets.manifests.errors import UsageError
from poisonsets.victims.networks.normalisation import Three

_GIVE: Final = "Give both, as it was trained: `--mean 0,0,0 --std 1,1,1` for pixels in 0..1"
HALVES: Final[Three] = ("0.5", "0.5", "0.5")
# With published weights torchvision makes their first layer undo ImageNet's normalisation in favour of one half.
_TRANSFORM: Final = ("googlenet", "inception_v3")


class Published(NamedTuple):
    """What published weights were trained on: mean and deviation of the channels in units of 0..1, side in pixels."""

    mean: Three
    std: Three
    side: int | None


def published(name: str) -> Published:
    """What a library says of a network.

    Args:
        name: of the network, `timm:NAME` or `torchvision:NAME`.

    Raises:
        UsageError: it is no library's network, or the library has no weights for it.
    """
    prefix, _, member = name.partition(":")
    found = {"timm": _of_timm, "torchvision": _of_torchvision}.get(prefix, lambda _: None)(member)
    if found is None:
        raise UsageError(f"{name}: nothing says how its weights want images normalised", _GIVE)
    return found


def three(values: Any) -> Three:
    """Three numbers as decimal strings of at most 12 digits behind the point."""
    first, second, third = (f"{float(value):.12f}".rstrip("0").rstrip(".") for value in values)
    return first, second, third


def _of_timm(member: str) -> Published | None:
    import timm

    found = timm.get_pretrained_cfg(member)
    if found is None:
        return None
    return Published(three(found.mean), three(found.std), int(found.input_size[-1]))


def _of_torchvision(member: str) -> Published | None:
    import torchvision

    try:
        entries = list(torchvision.models.get_model_weights(member))
    except ValueError:
        return None
    if not entries:
        return None
    if member in _TRANSFORM:
        return Published(HALVES, HALVES, 224 if member == "googlenet" else 299)
    made = torchvision.models.get_model_weights(member).DEFAULT.transforms()
    return Published(three(made.mean), three(made.std), int(made.crop_size[0]))
