"""What a run tells of itself while it goes on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from engine.config.parts import Section


def _off(value: Any) -> Any:
    """`off` and `on` are false and true to YAML."""
    return {False: "off", True: "events"}.get(value, value) if isinstance(value, bool) else value


class ObserveConfig(Section):
    """None of it costs anything when off."""

    log: Annotated[Literal["off", "events", "calls"], BeforeValidator(_off)] = "events"
    """`run.log` in the run folder, JSON lines: what happened, or every call too."""
    log_mb: float = Field(default=10.0, gt=0, le=10_000)
    """A log file this large makes way for the next."""
    log_files: int = Field(default=5, ge=1, le=1000)
    """How many earlier log files are kept."""
    page: bool = True
    """Write report.html when a start ends."""
    prometheus_port: int | None = Field(default=None, ge=0, le=65535)
    """Serve `/metrics` on loopback there; 0 takes a free port and says which."""
    traces: bool = False
    """A span for each call, by OpenTelemetry: `pip install "datagen-engine[traces]"`, OTEL_EXPORTER_OTLP_ENDPOINT."""
