"""What a run reports about itself while it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from engine.config.parts import Section


def _off(value: Any) -> Any:
    """YAML reads `off` and `on` as false and true."""
    return {False: "off", True: "events"}.get(value, value) if isinstance(value, bool) else value


class ObserveConfig(Section):
    """Logs, report, metrics and traces; each costs nothing when it is off."""

    log: Annotated[Literal["off", "events", "calls"], BeforeValidator(_off)] = "events"
    """`run.log` in the run folder, as JSON lines: 'events', or 'calls' to record every call too."""
    log_mb: float = Field(default=10.0, gt=0, le=10_000)
    """Size in megabytes at which a new log file begins."""
    log_files: int = Field(default=5, ge=1, le=1000)
    """Earlier log files that are kept."""
    prompts: bool = True
    """Keep in run.db what each call was asked, and when: 300 bytes and 0.05 ms a call. `datagen view` shows it."""
    page: bool = True
    """Write report.html at the end of each start."""
    prometheus_port: int | None = Field(default=None, ge=0, le=65535)
    """Serve `/metrics` on this loopback port; 0 chooses a free port and reports it."""
    traces: bool = False
    """A span for each call, by OpenTelemetry: `pip install "datagen-engine[traces]"`, OTEL_EXPORTER_OTLP_ENDPOINT."""
