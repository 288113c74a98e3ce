"""poisonsets: craft, verify and score data-poisoning sets for image classifiers.

Importing this package loads nothing heavy. The doors are `poisonsets.manifests.open_set` for poison sets on
disk, `poisonsets.attacks` for crafting and `poisonsets.victims` for scoring.
"""

__version__ = "0.1.0"
