"""Units of the values in foreign files: inferred if only one is possible, else asked for.

Published sets hold levels 0-255, shares of 1, or values normalised by a network's mean and deviation. A wrong guess
would change every pixel and still give an image, so nothing is guessed.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from poisonsets.manifests.errors import DamagedError, UsageError
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.verification.findings import Finding

Three = tuple[float, float, float]
# cifar10, tinyimagenet: the benchmark of Schwarzschild et al. (2021) and the original feature attacks; witches-brew:
# the CIFAR-10 constants that the authors' code computes.
CONSTANTS: Final[dict[str, tuple[Three, Three]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "tinyimagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "witches-brew": ((0.491467, 0.482262, 0.446770), (0.247032, 0.243485, 0.261588)),
}
CHOICES: Final = (
    f"--unit 0-255, --unit 0-1, --unit normalised:NAME ({', '.join(CONSTANTS)}) or --unit normalised:M,M,M/S,S,S"
)
_DECIMAL: Final = r"(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,12})?"
_THREE: Final = rf"({_DECIMAL}),({_DECIMAL}),({_DECIMAL})"
BLOCK: Final = 1000  # images converted at a time
SLACK: Final = 0.001  # by which sums in single precision leave 0..1
LEAST_WHITE: Final = 16.0  # an image whose brightest value is below this many levels is no evidence for levels


@dataclass(frozen=True)
class Unit:
    """A value v of channel c means `scale[c] * v + zero[c]` levels; a difference `scale[c] * v`."""

    name: str
    scale: Three
    zero: Three = (0.0, 0.0, 0.0)


LEVELS: Final = Unit("0-255", (1.0, 1.0, 1.0))
SHARES: Final = Unit("0-1", (255.0, 255.0, 255.0))


def parse_unit(text: str) -> Unit:
    """The unit that `--unit` names.

    Raises:
        UsageError: it is no unit.
    """
    if text in (LEVELS.name, SHARES.name):
        return LEVELS if text == LEVELS.name else SHARES
    kind, colon, rest = text.partition(":")
    numbers = re.fullmatch(f"{_THREE}/{_THREE}", rest)
    if kind != "normalised" or not colon or (numbers is None and rest not in CONSTANTS):
        raise UsageError(f"--unit {text[:80]}: not a unit", f"Give {CHOICES}")
    if numbers is None:
        mean, deviation = CONSTANTS[rest]
    else:
        m0, m1, m2, s0, s1, s2 = map(float, numbers.groups())
        mean, deviation = (m0, m1, m2), (s0, s1, s2)
    if min(deviation) == 0:
        raise UsageError(f"--unit {text[:80]}: a deviation of zero")
    (s0, s1, s2), (m0, m1, m2) = deviation, mean
    return Unit(text, (255 * s0, 255 * s1, 255 * s2), (255 * m0, 255 * m1, 255 * m2))


def unit_of(values: NDArray[Any], stated: str | None, *, adds: bool, where: str) -> Unit:
    """The unit of at least one value: levels for bytes, else the unit stated as for `--unit`, else the one inferred.

    `adds`: the values are differences. `where`: for errors.

    Raises:
        DamagedError: the values cannot be pixels in any unit.
        UsageError: the stated unit is none, or is wrong for bytes; or several are possible.
    """
    check_values(values, adds=adds, where=where)
    unit = None if stated is None else parse_unit(stated)
    if values.dtype != np.uint8:
        return infer_unit(values, adds=adds, where=where) if unit is None else unit
    if unit not in (None, LEVELS):
        raise UsageError(f"{where}: bytes, which are levels 0-255 and nothing else", "Leave out --unit")
    return LEVELS


def check_values(values: NDArray[Any], *, adds: bool, where: str) -> None:
    """Check that values can be pixels in some unit, or differences of pixels.

    Raises:
        DamagedError: they are no numbers, not finite, or unsigned differences.
    """
    if values.dtype.kind not in "iuf" or (adds and values.dtype.kind == "u"):
        sign = ": without a sign they are no differences" if values.dtype.kind == "u" else ""
        raise DamagedError(f"{where}: values of type {values.dtype}{sign}")
    if not np.isfinite([float(values.min()), float(values.max())]).all():
        raise DamagedError(f"{where}: values that are not finite")


def infer_unit(values: NDArray[Any], *, adds: bool, where: str) -> Unit:
    """The only unit that these values, checked by `check_values`, can have; arguments as for `unit_of`.

    Raises:
        UsageError: several units are possible; the remedy names them.
    """
    low, high = float(values.min()), float(values.max())
    found = _of_differences(values, low, high) if adds else _of_images(values, low, high)
    if found is None:
        what = "differences" if adds else "values"
        raise UsageError(
            f"{where}: {what} from {low:.4g} to {high:.4g} could be in several units{_meaning(low, high, adds)}",
            f"Give {CHOICES}",
        )
    return found


def _of_images(values: NDArray[Any], low: float, high: float) -> Unit | None:
    if low >= -SLACK and high <= 1 + SLACK:
        # Zeros and ones alone could also be a black image with a few values of one level.
        return None if ((values == 0) | (values == 1)).all() else SHARES
    return LEVELS if low >= -0.5 and LEAST_WHITE <= high <= 255.5 else None


def _of_differences(values: NDArray[Any], low: float, high: float) -> Unit | None:
    peak = max(-low, high)
    if values.dtype.kind == "i":
        return LEVELS if peak <= 255 else None
    if (values == np.rint(values)).all():
        # -1, 0 and 1 could be single levels, or black and white.
        return LEVELS if 2 <= peak <= 255 else None
    levels = values.astype(np.float64) * 255
    whole = 1 <= peak * 255 <= 255 + SLACK and (np.abs(levels - np.rint(levels)) <= SLACK).all()
    return SHARES if whole else None


def _meaning(low: float, high: float, adds: bool) -> str:
    if not adds:
        return ""
    peak = max(-low, high)
    name, (_, deviation) = next(iter(CONSTANTS.items()))
    normalised = f"{peak * 255 * min(deviation):.1f} to {peak * 255 * max(deviation):.1f} as normalised:{name}"
    return f" ({peak:.1f} levels as 0-255, {peak * 255:.1f} as 0-1, {normalised})"


def levels_in(values: NDArray[Any], unit: Unit, bases: Images | None) -> tuple[Images, tuple[Finding, ...]]:
    """Images uint8 [P, H, W, 3], rounded to the nearest level (ties up) and clipped to 0..255, and hints on both.

    Args:
        values: [P, H, W, 3], in this unit.
        bases: uint8 [P, H, W, 3], to which the values are added; None if they are images themselves.
    """
    if values.dtype == np.uint8 and unit == LEVELS and bases is None:
        return np.ascontiguousarray(values), ()
    images = np.empty(values.shape, np.uint8)
    clipped = rounded = 0
    scale, zero = np.array(unit.scale), np.array(unit.zero)
    for first in range(0, len(values), BLOCK):
        some = slice(first, first + BLOCK)
        exact = values[some].astype(np.float64) * scale + (zero if bases is None else bases[some])
        nearest = np.floor(exact + 0.5)
        outside = (nearest < 0) | (nearest > 255)
        clipped += int(outside.any(axis=(1, 2, 3)).sum())
        rounded += int((np.abs(exact - nearest) > 0.01).any(axis=(1, 2, 3)).sum())
        images[some] = np.clip(nearest, 0, 255)
    hints = []
    if rounded:
        hints.append(Finding("H704", "values between two levels, rounded to the nearest"))
    if clipped:
        hints.append(Finding("H704", "values outside 0..255, clipped"))
    return images, tuple(hints)
