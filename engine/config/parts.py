"""The common parts of config sections: strict mappings, shares, prices."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A mapping in the config file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Share = Annotated[float, Field(ge=0, le=1)]


class PriceConfig(Section):
    """US dollars per million tokens."""

    input: float = Field(ge=0, le=1e6)
    output: float = Field(ge=0, le=1e6)
    cached_input: float | None = Field(default=None, ge=0, le=1e6)
    cache_write: float | None = Field(default=None, ge=0, le=1e6)
    """For prompt tokens that are written to a prompt cache; `input` where absent."""
    per_call: float = Field(default=0.0, ge=0, le=1e6)
    """US dollars for each call, in addition to its tokens."""
    batch: float | None = Field(default=None, gt=0, le=1)
    """What a call in a batch costs, as a share of these prices; not known where absent."""
