"""The checks: one decorated function each, registered under its code, yielding findings; one file per family."""

from poisonsets.manifests.plugins import load_plugins

load_plugins(__name__)
