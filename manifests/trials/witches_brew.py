"""The ten CIFAR-10 cases of Witches' Brew, computed from the seeds that its table 4 prints.

Geiping et al. (2021), table 4 and section 4: 1 % of the training images, all of the adversarial class. The rule is
that of the authors' code for an integer poison key s: NumPy's legacy generator seeded with s + 4 draws, in this
order, the target's class, the poisons' class among the nine others in ascending order, the poisons among that class's
training images, and the target among its class's test images.
"""

from typing import Final

import numpy as np

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.errors import UsageError
from poisonsets.manifests.records.trial import SplitTarget
from poisonsets.manifests.trials.plan import Plan

# Seed; then what the paper prints: the target's class, the poisons' class, the target's index in the test split.
CASES: Final = (
    (2000000000, 5, 6, 8745),
    (2100000000, 6, 9, 1565),
    (2110000000, 6, 2, 2138),
    (2111000000, 0, 5, 5036),
    (2111100000, 0, 8, 1183),
    (2111110000, 3, 0, 7352),
    (2111111000, 1, 6, 3544),
    (2111111100, 9, 3, 3676),
    (2111111110, 1, 8, 9882),
    (2111111111, 1, 3, 3028),
)
CLASSES: Final = 10


def case(base: Base, number: int) -> Plan:
    """Case `number` (0-based, in the order of the paper's table).

    Raises UsageError where the base is not CIFAR-10 in its original order: its labels give another case.
    """
    seed, *printed = CASES[number]
    random = np.random.RandomState(seed + 4)
    target_class = int(random.randint(CLASSES))
    adversarial = int(random.choice([label for label in range(CLASSES) if label != target_class]))
    among = np.flatnonzero(base.train.labels == adversarial)
    shown = np.flatnonzero(base.test.labels == target_class)
    poisons = -(-len(base.train.labels) // 100)
    if len(among) >= poisons and len(shown):
        bases = random.choice(among, poisons, replace=False)
        index = int(random.choice(shown, 1, replace=False)[0])
        if [target_class, adversarial, index] == printed:
            target = SplitTarget(split="test", index=index, label=target_class)
            return Plan(number, (target,), adversarial, tuple(int(base_index) for base_index in bases))
    raise UsageError(
        f"trial {number}: {base.name} does not give the case that the paper prints",
        "This setup is for CIFAR-10 with its images in their original order",
    )
