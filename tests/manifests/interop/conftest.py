"""A set of ours, and one call to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from triples import Import

from poisonsets.manifests.bases.dataset import Base
from poisonsets.manifests.interop import formats
from poisonsets.manifests.interop.importing.claims import Claims
from poisonsets.manifests.interop.importing.import_set import ImportResult, import_set


@pytest.fixture(scope="session")
def native(honest: Path) -> Path:
    """A set of ours, beside the foreign ones."""
    return honest


@pytest.fixture
def importing(tmp_path: Path, base: Base) -> Import:
    """Import into the test's folder `set`; keywords of `Claims` and of `import_set` alike."""

    def run(source: Path, form: str = "auto", **options: Any) -> ImportResult:
        own = {key: options.pop(key) for key in ("number", "only", "skip_bad") if key in options}
        against = options.pop("against", base)
        chosen = formats.find_format(form, source)
        return import_set(tmp_path / "set", chosen, source, against, Claims(**options), name="imported", **own)

    return run
