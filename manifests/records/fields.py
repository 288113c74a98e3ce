"""Field types of the manifest, and `Strict`, which all of its records derive from."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from poisonsets.manifests import limits

Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Decimal: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?(e[+-][0-9]{2,3})?$")
]
# Few digits, because images are mixed in exact 64-bit integers; more digits would change no pixel.
Alpha: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$")]
Amount: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,3})(\.[0-9]{1,6})?$")]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@=/+-]{0,199}$")]
# Quoted in the card's YAML, so no character that needs escaping there.
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
    """A frozen record that refuses unknown fields and converts no types."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(error: ValidationError) -> str:
    """The first error of a validation, in one short line."""
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place[:80] or 'document'}: {fault['msg']}"[:200]
