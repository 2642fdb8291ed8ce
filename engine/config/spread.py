"""Which processes and machines make and check the items of a run."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.config.parts import Section

_ADDRESS = re.compile(r"(?:ray://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")


def _as_count(value: Any) -> Any:
    return len(os.sched_getaffinity(0)) if value == "auto" else value


class SpreadConfig(Section):
    """Workers do the work of the stages; what is asked, paid, kept and decided is the same with any number of them.

    All of it may differ between two starts of one run.
    """

    on: Literal["local", "ray"] = "local"
    """Where workers are started: as processes of this machine, or by Ray."""
    workers: Annotated[int, BeforeValidator(_as_count)] = Field(default=0, ge=0, le=1024)
    """How many are started; 'auto' is one for each core that this process may use. 0: the run is one process."""
    address: str | None = None
    """`on: ray`: HOST:PORT of the cluster's head; where absent, a Ray of this machine is started for the run."""
    cpus: float = Field(default=1.0, ge=0)
    """`on: ray`: cores that Ray sets aside for each worker."""
    gpus: float = Field(default=0.0, ge=0)
    listen: str | None = None
    """HOST:PORT at which further workers may join, started by `datagen worker`; port 0 is any that is free."""
    silence_s: float = Field(default=5.0, ge=1, le=600)
    """A worker that is not heard for so many seconds is given up, and its work goes to others."""
    drain_s: float = Field(default=120.0, gt=0)
    """Seconds that a worker which is asked to leave may take to finish what it has."""

    @field_validator("address", "listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is None:
            return None
        match = _ADDRESS.fullmatch(value)
        if match is None or int(match[2]) > 65_535:
            raise ValueError("must be HOST:PORT, such as 10.0.0.5:6379")
        return value.removeprefix("ray://")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.address is not None and self.on != "ray":
            raise ValueError("address is of a Ray cluster; set spread.on: ray, or leave it out")
        if self.on == "ray" and not self.used:
            raise ValueError(
                "on: ray starts spread.workers, and that is 0; give a number, such as --workers 4"
            )
        return self

    @property
    def used(self) -> bool:
        """Whether any worker may come."""
        return self.workers > 0 or self.listen is not None
