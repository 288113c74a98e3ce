"""The checks: one small function each, registered with its code, yielding findings. One file a family.

Most checks see one trial at a time as a `CheckedTrial`; others see the set as a `CheckedSet`, before its trials or, for
what only all trials together tell, after them. A new check is a decorated function in a file of this folder.
"""

from poisonsets.manifests.plugins import load_plugins

load_plugins(__name__)
