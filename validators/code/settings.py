"""The sandbox's options in the config."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from validators.code.levels import Level


class SandboxOptions(BaseModel):
    """The section `sandbox` of the validator `code`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    require: Level = "no-files"
    """The loosest acceptable level; the run does not start below it."""
    backend: Literal["native", "docker", "podman"] = "native"
    image: str = "docker.io/library/python:3.12-slim"
    """For docker and podman: any image with Python 3.11 or newer."""
    preload: tuple[str, ...] = ()
    """Modules imported beforehand in addition to the usual ones: numpy, sympy, or your own."""
    zygotes: int | None = Field(default=None, ge=1, le=256)
    """Processes that fork programs; by default one for each core."""
    cpu_s: float = Field(default=2.0, gt=0, le=3600)
    """CPU seconds of one program, rounded up to whole seconds."""
    wall_s: float = Field(default=10.0, gt=0, le=3600)
    memory_mb: int = Field(default=256, ge=16, le=1 << 20)
    output_bytes: int = Field(default=65_536, ge=1, le=1 << 26)
