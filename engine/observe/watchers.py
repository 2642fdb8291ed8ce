"""Opens a run's watchers as the config says; a watcher that is off is neither loaded nor called."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.observe import ObserveConfig
from engine.llm.call import CallEnded, Watch
from engine.observe.prometheus import ReadFigures, metrics_server

OnEvent = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Watchers:
    """Where to report events and calls, and the metrics port; None where nothing watches."""

    event: OnEvent | None
    call: Watch | None
    port: int | None


@asynccontextmanager
async def observed(config: ObserveConfig, path: Path, read: ReadFigures) -> AsyncIterator[Watchers]:
    """Opens the watchers for the block. `path` is the log file's. Raises ConfigError."""
    async with contextlib.AsyncExitStack() as stack:
        event, port = None, None
        calls: list[Watch] = []
        if config.log != "off":
            from engine.observe.log import RunLog

            log = RunLog(path, config)
            stack.callback(log.close)
            event = log.event
            if config.log == "calls":
                calls.append(log.call)
        if config.traces:
            from engine.observe.traces import Traces

            traces = Traces()
            stack.callback(traces.close)
            calls.append(traces.call)
        if config.prometheus_port is not None:
            port = await stack.enter_async_context(metrics_server(config.prometheus_port, read))
        yield Watchers(event, _all(calls), port)


def _all(calls: list[Watch]) -> Watch | None:
    if len(calls) < 2:
        return calls[0] if calls else None

    def each(ended: CallEnded) -> None:
        for call in calls:
            call(ended)

    return each
