"""Serves the simulated endpoint until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from engine.config.simulator import SimulatorConfig
from engine.errors import ConfigError
from engine.simulator.server import Simulator

HOST = "127.0.0.1"


@asynccontextmanager
async def serving(knobs: SimulatorConfig, port: int = 0) -> AsyncIterator[tuple[str, Simulator]]:
    """(base URL, the simulator) while the block lasts. Raises ConfigError if the port is in use."""
    simulator = Simulator(knobs)
    runner = web.AppRunner(simulator.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, backlog=4096)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror or error}") from None
        bound = runner.addresses[0][1]
        yield f"http://{HOST}:{bound}/v1", simulator
    finally:
        await runner.cleanup()


async def serve(
    knobs: SimulatorConfig, port: int, ready: Callable[[str], None], *, with_parent: bool
) -> None:
    """Serves until SIGINT or SIGTERM; `with_parent`: or until standard input closes (the parent died)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    if with_parent:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    async with serving(knobs, port) as (url, _):
        ready(url)
        await stop.wait()
