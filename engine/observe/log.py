"""run.log: one JSON object a line for each event of a run and, if configured, for each call; rotated."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from engine.config.observe import ObserveConfig
from engine.items import Completion, usd
from engine.llm.call import CallEnded
from engine.veil import veiled


class RunLog:
    """Mutable state: the open file. A line that cannot be written is lost; the run is not."""

    def __init__(self, path: Path, config: ObserveConfig) -> None:
        handler = _Quiet(
            path,
            maxBytes=int(config.log_mb * 1e6),
            backupCount=config.log_files,
            encoding="utf-8",
            delay=True,
            errors="replace",
        )
        handler.setFormatter(_Lines())
        self._handler = handler
        self._logger = logging.Logger("datagen.run")  # the run's own logger: no other handler receives it
        self._logger.addHandler(handler)

    def event(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Logs one event; `facts` are plain JSON values."""
        self._logger.info(kind, extra={"facts": facts})

    def call(self, ended: CallEnded) -> None:
        """Logs one call that has ended."""
        prompt, outcome = ended.prompt, ended.outcome
        facts: dict[str, Any] = {"key": prompt.key, "purpose": prompt.purpose, "endpoint": ended.endpoint}
        if isinstance(outcome, Completion):
            usage = outcome.usage
            facts |= {"model": outcome.model, "attempts": outcome.attempts, "seconds": outcome.seconds,
                      "finish": outcome.finish_reason, "prompt_tokens": usage.prompt_tokens,
                      "completion_tokens": usage.completion_tokens, "usd": usd(usage.cost)}  # fmt: skip
        else:
            facts |= {"error": outcome.reason, "words": str(outcome)}
        self.event("call", facts)

    def close(self) -> None:
        self._handler.close()


class _Quiet(logging.handlers.RotatingFileHandler):
    """Ignores write errors: the journal reports a full disk."""

    def handleError(self, record: logging.LogRecord) -> None: ...


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03}"
        facts = getattr(record, "facts", {})
        return veiled(orjson.dumps({"at": at, "event": record.getMessage(), **facts}, default=str).decode())
