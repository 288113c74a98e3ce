"""How many images of which class a dirty-label set takes, and what share of all images they are, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from poisonsets.manifests.errors import UsageError


def expected_draws(
    counts: Sequence[int], adversarial: int, sources: Sequence[int], poisons: int
) -> tuple[Fraction, ...]:
    """How many poisons are expected of each class, drawn without regard to class from all source classes together.

    Truong et al. (2020), section 3: P_c = m N_c / sum over the source classes of N_k.

    Args:
        counts: training images of each class, N_c.
        adversarial: the class whose label the poisons get; never a source.
        sources: the classes they are drawn from.
        poisons: m, how many are drawn.

    Raises:
        UsageError: no source, a class that is not there, the adversarial class among the sources, sources without
            an image.
    """
    wrong = [label for label in (*sources, adversarial) if not 0 <= label < len(counts)]
    if wrong:
        raise UsageError(f"class {wrong[0]}: there are {len(counts)} classes")
    if adversarial in sources:
        raise UsageError(
            f"class {adversarial} is the adversarial class and a source class", "Take it out of the sources"
        )
    images = sum(counts[label] for label in set(sources))
    if images == 0:
        raise UsageError("the source classes have no image", "Give source classes")
    return tuple(
        Fraction(poisons * count, images) if label in sources else Fraction(0) for label, count in enumerate(counts)
    )


def effective_rate(counts: Sequence[int], poisons: int) -> Fraction:
    """The poisons' share of all training images, m / N, which supplanting keeps constant.

    Truong et al. (2020), equation 9. What differs: it is printed with a sum over the source classes, but the values
    of their table 1 need the sum over all of them.

    Args:
        counts: training images of each class.
        poisons: m.

    Raises:
        UsageError: there is no image.
    """
    if sum(counts) == 0:
        raise UsageError("no class has an image")
    return Fraction(poisons, sum(counts))
