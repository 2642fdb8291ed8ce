"""What is known of the quality of the items, and what is wanted of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from engine.config.markers import Operational, PathFrom
from engine.config.parts import Section


class QualityConfig(Section):
    """A calibration of the checks, and what it is to choose by."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    calibration: Annotated[Path | None, PathFrom(), Operational()] = None
    """A calibration.json, or the folder that holds one: plan and report take their figures from it."""
    rewritten: bool = False
    """Whether a calibration tries its rows in other names and numbers, for models that know the dataset by heart."""
    precision: Annotated[float | None, Operational()] = Field(default=None, gt=0, le=1)
    """The share of right labels wanted among the accepted: `calibrate` names the checks that yield most with it."""
    least_yield: Annotated[float | None, Operational()] = Field(default=None, gt=0, le=1, alias="yield")
    """The share of items that is to be accepted: `calibrate` names the checks that are most precise with it."""

    @model_validator(mode="after")
    def _one_wish(self) -> Self:
        if self.precision is not None and self.least_yield is not None:
            raise ValueError("precision and yield cannot both be given: the one decides the other")
        return self
