"""A worker process: opens its part of the run as the head tells it, and works until there is nothing more to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from typing import Any

from engine import veil
from engine._version import __version__
from engine.config import ModelConfig, RunConfig
from engine.flow.halt import Halt
from engine.flow.loop import in_loop
from engine.protocols import Ask
from engine.runs.endpoints import backend_for
from engine.runs.inputs import Inputs
from engine.runs.lending import python_version
from engine.runs.modes import MODES
from engine.runs.pipeline import Making
from engine.runs.plugins import described, load_validators, opened_validators
from engine.spread.messages import Join
from engine.spread.worker import Ended, Held, Opened, Turned, Worker
from engine.stages.meter import Meter


@asynccontextmanager
async def opened(about: Mapping[str, Any], ask: Ask, halt: Halt, held: Held) -> AsyncIterator[Opened]:
    """A worker's part of the run. Raises ConfigError, FatalError."""
    for value, name in about["secrets"].items():
        veil.hide(value, name)
    config, mode = RunConfig.model_validate(about["config"]), MODES[about["mode"]]
    inputs = await asyncio.to_thread(mode.load, config)
    config, meter = inputs.config, Meter()
    async with contextlib.AsyncExitStack() as stack:
        backends = []
        for purpose, told in about["models"]:
            model = ModelConfig.model_validate(told)
            concurrency = model.limits.concurrency or config.limits.most_in_flight
            backends.append(backend_for(model, purpose)(model, concurrency=concurrency))
            stack.push_async_callback(backends[-1].close)
        validators = load_validators(config, ask, inputs.dataset.fields, meter)
        await stack.enter_async_context(opened_validators(validators))
        embedding = await stack.enter_async_context(_embedding(inputs, about, ask))
        parts = Making(inputs, ask, halt, validators, meter, embedding, held, about["context"])
        yield Opened(
            mode.stages(parts),
            backends,
            {name: asdict(each) for name, each in described(validators).items()},
            embedding.embedder.version if embedding is not None else "",
            mode.generates or config.groupcheck is not None,
        )


@asynccontextmanager
async def _embedding(inputs: Inputs, about: Mapping[str, Any], ask: Ask) -> AsyncIterator[Any]:
    """The embedder of the group check, open; None where it compares no vectors."""
    embedder = inputs.embedder
    if embedder is None or inputs.config.groupcheck is None or inputs.same == "text":
        yield None
        return
    from engine.diversity.embedding import Embedding, EndpointModel
    from engine.diversity.local_model import LocalModel

    if isinstance(embedder, EndpointModel):
        embedder.asking(ask)
    if isinstance(embedder, LocalModel):
        embedder.precision = about["precision"] or embedder.precision
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(embedder, AbstractAsyncContextManager):
            await stack.enter_async_context(embedder)
        yield Embedding(embedder, about["dimensions"])


def joining(token: str = "", name: str = "") -> Join:
    """Who asks to work."""
    return Join(token, __version__, python_version(), socket.gethostname(), os.getpid(), name)


async def work(connect: Callable[[Worker], Any], join: Join, *, interruptible: bool = False) -> None:
    """Works for one head, until there is nothing more to do. Raises Ended, with the reason."""
    worker = Worker(opened, join)
    await connect(worker)
    loop = asyncio.get_running_loop()
    signals = [signal.SIGTERM, signal.SIGINT] if interruptible else [signal.SIGTERM]
    for number in signals:
        loop.add_signal_handler(number, worker.leave)
    try:
        await worker.run()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def main() -> None:
    """A worker of this machine, over the socket whose number is the argument."""

    async def connect(worker: Worker) -> None:
        pipe = socket.socket(fileno=int(sys.argv[1]))
        pipe.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: worker.link, sock=pipe)

    async def whole() -> int:
        try:
            await work(connect, joining())
        except Turned as reason:
            print(reason, file=sys.stderr)
            return 2
        except Ended:
            return 0
        return 0

    sys.exit(in_loop(whole))


if __name__ == "__main__":
    main()
