"""What profiles, priors and runtimes share: records read from JSON, and numbers with a range."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Record(BaseModel):
    """A record that never changes and whose fields are all known: a misspelt name in a file is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
