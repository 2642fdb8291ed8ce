"""A worker process: opens its part of the run as the head tells it, and works until there is nothing more to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict

from engine import veil
from engine._version import __version__
from engine.config import ModelConfig, RunConfig
from engine.diversity.sameness import text_key
from engine.errors import ConfigError, EngineError, FatalError
from engine.flow.loop import in_loop, rarer_collections
from engine.items import Item
from engine.runs.carrying import placed
from engine.runs.endpoints import backend_for
from engine.runs.inputs import Inputs
from engine.runs.lending import python_version
from engine.runs.modes import MODES
from engine.runs.pipeline import Making
from engine.runs.plugins import described, load_validators, opened_validators
from engine.runs.setup import opened_embedding
from engine.spread.joining import TOKEN, connected, public_key
from engine.spread.link import Link
from engine.spread.messages import Join
from engine.spread.worker import Lent, Worker
from engine.spread.working import Opened
from engine.stages.meter import Meter
from engine.stages.written import written_of

_HEAD_S = 60.0
"""Seconds in which a head may come after its workers."""


@asynccontextmanager
async def opened(lent: Lent) -> AsyncIterator[Opened]:
    """A worker's part of the run. Raises ConfigError, FatalError."""
    about, ask = lent.about, lent.ask
    for value, name in about["secrets"].items():
        veil.hide(value, name)
    settings = await placed(about["config"], about["files"], lent.fetch)
    config, mode = RunConfig.model_validate(settings), MODES[about["mode"]]
    inputs = await asyncio.to_thread(mode.load, config)
    config, meter = inputs.config, Meter()
    async with contextlib.AsyncExitStack() as stack:
        backends = []
        for purpose, told in about["models"]:
            model = ModelConfig.model_validate(told)
            concurrency = model.limits.concurrency or config.limits.most_in_flight
            backends.append(backend_for(model, purpose)(model, concurrency=concurrency))
            stack.push_async_callback(backends[-1].close)
        validators = load_validators(config, ask, inputs.dataset.fields, meter, shelf=inputs.shelf)
        await stack.enter_async_context(opened_validators(validators))
        embedding = None
        if inputs.embedder is not None and config.groupcheck is not None and inputs.same != "text":
            opening = opened_embedding(inputs.embedder, ask, about["precision"], about["dimensions"])
            embedding = await stack.enter_async_context(opening)
        parts = Making(inputs, ask, lent.halt, validators, meter, embedding, lent.held, about["context"])
        yield Opened(
            mode.stages(parts),
            backends,
            {name: asdict(each) for name, each in described(validators).items()},
            embedding.embedder.version if embedding is not None else "",
            _finishing(inputs, keyed=mode.generates or config.groupcheck is not None),
        )


def _finishing(inputs: Inputs, *, keyed: bool) -> Callable[[Item], Item]:
    """Does what depends on the item alone: its text's key, where the run compares texts, and what is written of it."""

    def finished(item: Item) -> Item:
        written = written_of(item, inputs.dataset, item.rejection)
        key = text_key(item) if keyed and not item.settled else item.text_key
        return item.evolve(written=written, text_key=key)

    return finished


def joining(token: str = "", name: str = "") -> Join:
    """Who asks to work."""
    return Join(token, __version__, python_version(), socket.gethostname(), os.getpid(), name)


Connect = Callable[[Callable[[], Link]], Awaitable[object]]
"""Opens the connection to the head, with the link that it is given."""


async def work(connect: Connect, join: Join, *, interruptible: bool = False) -> str:
    """Works for one head, until there is nothing more to do; why it has ended.

    Raises ConfigError where the head does not want this worker, FatalError where it has gone without a word.
    """
    worker = Worker(opened, join)
    await connect(lambda: worker.link)
    loop = asyncio.get_running_loop()
    signals = [signal.SIGTERM, signal.SIGINT] if interruptible else [signal.SIGTERM]
    for number in signals:
        loop.add_signal_handler(number, worker.leave)
    try:
        return await worker.run()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def work_for(address: str, tell: Callable[[str], None] = lambda _: None) -> str:
    """`work` for the head at this address, once it is there. Raises ConfigError, FatalError."""
    token = os.environ.get(TOKEN, "")
    if not token:
        raise ConfigError(f"{TOKEN} is not set: it is the token that the head gave out")
    veil.hide(token)
    key = public_key(token)
    began, told = time.monotonic(), False
    while True:
        try:
            return await work(lambda link: connected(address, key, link), joining(token), interruptible=True)
        except (OSError, TimeoutError) as error:
            if time.monotonic() - began > _HEAD_S:
                said = getattr(error, "strerror", None) or "no answer"
                raise FatalError(f"no head at {address} for {_HEAD_S:.0f} s: {said}") from None
            if not told:
                tell(f"No head answers at {address} yet; it is tried for {_HEAD_S:.0f} s.")
                told = True
            await asyncio.sleep(1.0)


def work_once(address: str, key: str, token: str, name: str) -> str:
    """`work` for the head at this address, which has this public key, in a process that has no loop yet."""
    veil.hide(token)
    return in_loop(lambda: work(lambda link: connected(address, key, link), joining(token, name)))


def main() -> None:
    """A worker of this machine, over the socket whose number is the argument."""

    async def connect(link: Callable[[], Link]) -> None:
        pipe = socket.socket(fileno=int(sys.argv[1]))
        pipe.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(link, sock=pipe)

    rarer_collections()
    try:
        in_loop(lambda: work(connect, joining()))
    except EngineError as error:
        print(veil.veiled(str(error)), file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 4)


if __name__ == "__main__":
    main()
