"""The JSON Schema of `manifest.json`, written to `schema.json` by `make schema`."""

import json
from pathlib import Path

from poisonsets.manifests.records.manifest import Manifest

PATH = Path(__file__).parents[1] / "schema.json"


def schema() -> str:
    """The text of `schema.json`."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(schema())
