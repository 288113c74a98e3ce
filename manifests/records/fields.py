"""The words that manifests are spelled with: closed, strict values and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from poisonsets.manifests import limits

Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Decimal: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?(e[+-][0-9]{2,3})?$")
]
# Mixed in exact integers of 64 bits, so few digits; more would change no pixel.
Alpha: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")]
Amount: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,3})(\.[0-9]{1,6})?$")]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@=/+-]{0,199}$")]
# Also a line of the card's YAML, so nothing that quoting could not hold.
Title: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:@=/+-]{0,199}$")]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=4096)]
FilePath: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(/[A-Za-z0-9][A-Za-z0-9_-]{0,99})?(\.[a-z]{2,11})$"),
]
Index: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
Label: TypeAlias = Annotated[int, Field(ge=0, lt=limits.CLASSES)]
SplitName: TypeAlias = Literal["train", "test"]


class Strict(BaseModel):
    """A value of the manifest."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(error: ValidationError) -> str:
    """The first thing a validation found wrong, in one short line."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place[:80] or 'document'}: {fault['msg']}"[:200]
