"""Runs the simulated endpoint in a separate process for the duration of a run."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.config.simulator import SimulatorConfig
from engine.errors import EndpointError

START_SECONDS = 60.0


@asynccontextmanager
async def simulated_endpoint(knobs: SimulatorConfig) -> AsyncIterator[str]:
    """The endpoint's base URL while the block lasts. It ends with this process, however that ends.

    Raises EndpointError if it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # do not import from the current folder
        "-m",
        "engine.simulator",
        knobs.model_dump_json(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # the run handles a Ctrl-C in the terminal
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                url = (await process.stdout.readline()).decode().strip()
        if not url.startswith("http"):
            raise EndpointError("the simulated endpoint did not start")
        yield url
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
