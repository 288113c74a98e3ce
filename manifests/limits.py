"""Every limit that a reader of poison sets checks before it allocates or loops (SPEC.md section 9)."""

from typing import Final

MANIFEST_BYTES: Final = 64 << 20
RUN_BYTES: Final = 1 << 20
CARD_BYTES: Final = 1 << 20
JSON_OBJECTS: Final = 1_000_000
JSON_STRINGS: Final = 2_000_000
JSON_TEXT: Final = 65_536
JSON_VALUES: Final = 20_000_000
FILE_BYTES: Final = 4 << 30
IMAGE_SIDE: Final = 1024
SLOTS_PER_SHARD: Final = 1000
TRIALS: Final = 10_000
LAST_TRIAL: Final = 99_999  # five digits in the name of a shard
SLOTS_PER_TRIAL: Final = 1_000_000
FILES: Final = 100_000
CLASSES: Final = 100_000
FINDINGS_KEPT: Final = 100
SETUP_BYTES: Final = 8 << 20
SETUP_BASES: Final = 10_000_000
TARGETS_PER_TRIAL: Final = 1000
HALVINGS: Final = 6  # of a block that does not fit into memory
