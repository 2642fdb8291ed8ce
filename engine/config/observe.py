"""What a run reports about itself while it runs."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from engine.config.markers import Secret
from engine.config.parts import Section


def _off(value: Any) -> Any:
    """YAML reads `off` and `on` as false and true."""
    return {False: "off", True: "events"}.get(value, value) if isinstance(value, bool) else value


Ending = Literal["target", "budget", "attempts", "fatal", "interrupted", "stalled"]


_WANTED: tuple[Ending, ...] = ("target", "budget", "attempts", "fatal", "stalled")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class NotifyConfig(Section):
    """A word when a start ends, or stands still: by a command, a web hook, or both."""

    command: str | None = None
    """A command with its arguments, run without a shell; DATAGEN_OUTCOME, DATAGEN_ACCEPTED, DATAGEN_TARGET,
    DATAGEN_SPENT_USD, DATAGEN_FOLDER, DATAGEN_MESSAGE and DATAGEN_TEXT are in its environment. Needs --allow-code."""
    webhook: Annotated[str | None, Secret()] = None
    """An address that the outcome is posted to."""
    format: Literal["auto", "json", "ntfy", "slack", "discord"] = "auto"
    """What is posted; `auto`: by the address, else JSON."""
    when: Annotated[tuple[Ending, ...], BeforeValidator(_as_tuple)] = (
        "target",
        "budget",
        "attempts",
        "fatal",
        "stalled",
    )
    stalled_s: float = Field(default=900.0, ge=1)
    """Seconds without an answer or a decided item after which a start counts as stalled."""

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be an address that begins with http:// or https://")
        return value

    @field_validator("command")
    @classmethod
    def _is_command(cls, value: str | None) -> str | None:
        if value is not None and not shlex.split(value):
            raise ValueError("must name a command")
        return value


def _as_notify(value: Any) -> Any:
    return {"webhook": value} if isinstance(value, str) else value


class TrackConfig(Section):
    """Sends a run's figures to a tracker of experiments, by its own library."""

    to: Literal["wandb", "mlflow", "trackio"]
    """`pip install "datagen-engine[wandb]"`, `[mlflow]` or `[trackio]`; where it sends them is its own setting."""
    project: str = "datagen"
    name: str | None = None
    """The run's name there; its folder's where absent."""
    every_s: float = Field(default=10.0, ge=1)


def _as_track(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


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
    notify: Annotated[NotifyConfig | None, BeforeValidator(_as_notify)] = None
    """An address alone is a web hook."""
    track: Annotated[TrackConfig | None, BeforeValidator(_as_track)] = None
    """wandb, mlflow or trackio."""
