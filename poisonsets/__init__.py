"""poisonsets: craft, verify and score data-poisoning sets for image classifiers.

Importing this package loads nothing heavy. The doors are `poisonsets.manifests` (`open_base`, `open_set`),
`poisonsets.crafting.planning.craft_request` with `poisonsets.crafting.driver.craft_set`, and
`poisonsets.victims.scoring.score.score_set` (docs/python.md).
"""

__version__ = "0.1.0"
