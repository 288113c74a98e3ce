"""Records as a pandas table, for whoever has pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poisonsets.manifests.errors import MissingError

if TYPE_CHECKING:
    import pandas as pd


def frame(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row a record, a column a key. Raises MissingError where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingError(
            "a table needs pandas, which is not installed", "Type `pip install poisonsets[frames]`"
        ) from error
    return pd.DataFrame.from_records(records)
