"""What the config may say of the sandbox."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from validators.code.levels import Level


class SandboxOptions(BaseModel):
    """The section `sandbox` of the validator `code`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    require: Level = "no-files"
    """The loosest level that will do; below it the run does not start."""
    backend: Literal["native", "docker", "podman"] = "native"
    image: str = "docker.io/library/python:3.12-slim"
    """For docker and podman: any image with Python 3.11 or newer."""
    preload: tuple[str, ...] = ()
    """Modules imported beforehand, on top of the usual ones: numpy, sympy, or your own."""
    zygotes: int | None = Field(default=None, ge=1, le=256)
    """Processes that fork programs; one for each core where absent."""
    cpu_s: float = Field(default=2.0, gt=0, le=3600)
    """CPU seconds of one program, rounded up to whole ones."""
    wall_s: float = Field(default=10.0, gt=0, le=3600)
    memory_mb: int = Field(default=256, ge=16, le=1 << 20)
    output_bytes: int = Field(default=65_536, ge=1, le=1 << 26)
