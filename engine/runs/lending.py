"""The head's side of a run with workers: what they are told of it, where they come from, what is kept of them."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from engine import veil
from engine._version import __version__
from engine.config import ModelConfig, RunConfig
from engine.files.source import Source
from engine.flow.halt import Halt
from engine.flow.stage import Stage
from engine.items import Completion
from engine.llm.endpoint import RecordEvent
from engine.llm.prices import FREE, price_of
from engine.protocols import Ask, Notify
from engine.report.workers import entry_of, worker_line
from engine.runs.carrying import Carried
from engine.runs.endpoints import Backends, OpenBackend
from engine.runs.modes import Mode
from engine.runs.pipeline import window_of
from engine.runs.setup import Setup
from engine.spread.crew import Worker
from engine.spread.head import Head
from engine.spread.joining import TOKEN, Tokens, is_loopback, listening, new_token, parted, public_key
from engine.spread.lent import Lent, lent
from engine.spread.local import Local
from engine.spread.messages import Join, Ready
from engine.spread.serving import Price
from engine.store.folder import RunFolder
from engine.store.journal import Journal
from engine.store.reading import connect, read_dimensions
from engine.store.workers import WorkerBook, WorkerRow

WORKER = "engine.runs.worker"
"""The module that is a worker of this machine."""
_ANY = ("0.0.0.0", "::")  # noqa: S104 - every address of this machine, and none that others could dial
_START_S = 120.0
"""Seconds in which a worker of this machine must say who it is: many that start at once are slow; each is watched."""
_MOST_OPEN = 4096
"""Batches that are given to workers at once, or wait for one."""


def lend(backends: Backends) -> tuple[Backends, Sequence[Lent]]:
    """The same endpoints, whose attempts workers make for their own calls; and these, by number."""
    ends: list[Lent] = []

    def wrapped(each: OpenBackend) -> OpenBackend:
        ends.append(lent(each.backend, len(ends)))
        return replace(each, backend=ends[-1])

    main = [wrapped(each) for each in backends.main]
    others = {purpose: wrapped(each) for purpose, each in backends.others.items()}
    return Backends(main, others), ends


def models_of(backends: Backends) -> list[tuple[str, ModelConfig]]:
    """(purpose, model) of all endpoints in the order of their numbers; '' for the main ones."""
    others = [(purpose, each.model) for purpose, each in backends.others.items()]
    return [*(("", each.model) for each in backends.main), *others]


class Books(WorkerBook):
    """What the journal keeps of workers, as the head knows them; see engine.spread.crew.Books."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self._start = journal.start

    def changed(self, worker: Worker) -> None:
        self.put(row_of(worker, self._start))

    def late(self, worker: Worker, key: str, cost: int) -> None:
        self.put_late(key, worker.name, worker.epoch, cost)


def row_of(worker: Worker, start: int) -> WorkerRow:
    """The worker as it is now."""
    now = time.time()
    seen = worker.joined, now - worker.silent(), now if worker.lost else None, worker.lost
    counts = worker.items, worker.calls, len(worker.attempts)
    return WorkerRow(worker.epoch, start, worker.name, worker.where, *seen, *counts)


class Lending:
    """A run's workers. Mutable state: the head, once it is open."""

    def __init__(
        self,
        mode: Mode,
        config: RunConfig,
        backends: Backends,
        ends: Sequence[Lent],
        journal: Journal,
        folder: RunFolder,
        source: Source | None,
        halt: Halt,
        record: RecordEvent,
        notify: Notify,
    ) -> None:
        """`config` is what workers are told: with its secrets, and with places that can be read again. `source` is
        the dataset's.
        """
        self._mode = mode
        self._config = config
        self._settings = config.model_dump(mode="json")
        self._folder = folder
        self._source = source
        self._backends = backends
        self._ends = ends
        self._journal = journal
        self._halt = halt
        self._record = record
        self._notify = notify
        self.head: Head | None = None

    @asynccontextmanager
    async def opened(self, ask: Ask, setup: Setup) -> AsyncIterator[Ready]:
        """Workers come while the block lasts. Raises what keeps them from opening their part of the run."""
        spec, limits = self._config.spread, self._config.limits
        books = Books(self._journal)
        elsewhere = spec.listen is not None or spec.on == "ray"
        carried = Carried(self._settings if elsewhere else {}, self._source)
        version = setup.embedding.embedder.version if setup.embedding is not None else ""
        about = self._about(setup, carried.places)
        head = self.head = Head(
            ask, self._ends, books, self._halt, lambda: about,
            check=refusal, fits=lambda ready: _unfit(ready, version), expects=spec.workers,
            in_flight=limits.most_in_flight, silence_s=spec.silence_s, outage_s=limits.outage_s,
            drain_s=spec.drain_s, first_epoch=books.first_epoch(), pieces=carried.pieces,
            price=price_by(models_of(self._backends)), record=self._record,
        )  # fmt: skip
        async with contextlib.AsyncExitStack() as stack:
            if spec.on == "ray" and spec.workers:
                await stack.enter_async_context(self._on_ray(head))
            elif spec.workers:
                local = Local(
                    spec.workers, [sys.executable, "-m", WORKER], lambda where: head.link(where, join_s=_START_S),
                    worked=head.worked.__contains__, record=self._record, hopeless=self._halt.set,
                )  # fmt: skip
                await stack.enter_async_context(local.running())
            if spec.listen is not None:
                await stack.enter_async_context(self._listening(spec.listen, head))
            await stack.enter_async_context(head.running())
            yield await head.first_ready()

    @asynccontextmanager
    async def _on_ray(self, head: Head) -> AsyncIterator[None]:
        """Ray starts workers, which dial this process."""
        from engine.spread import on_ray  # for runs that need it

        spec, tokens = self._config.spread, Tokens(new_token())
        async with on_ray.connected(spec) as host:
            shown = f"[{host}]" if ":" in host else host
            async with listening(f"{shown}:0", tokens.own, lambda: head.link(tokens=tokens)) as port:
                key = "" if is_loopback(host) else public_key(tokens.own)

                def dial(name: str) -> tuple[str, str, str, str]:
                    return f"{shown}:{port}", key, tokens.once(), name

                actors = on_ray.OnRay(spec, f"{WORKER}:work_once", dial, record=self._record)
                async with actors.running():
                    yield

    @asynccontextmanager
    async def _listening(self, address: str, head: Head) -> AsyncIterator[None]:
        """Workers of anywhere may come to this address while the block lasts, with the run's token."""
        tokens, file = Tokens(new_token()), self._folder.token
        veil.hide(tokens.own)
        async with listening(address, tokens.own, lambda: head.link(tokens=tokens)) as port:
            host, _ = parted(address)
            host = socket.gethostname() if host in _ANY else host
            told = "with the token in the environment"
            if not os.environ.get(TOKEN):
                file.touch(0o600)
                file.write_text(tokens.own)
                told = f"with {TOKEN} as in {file}"
            waits = "" if self._config.spread.workers else "Nothing is done until a worker has joined. "
            self._notify(f"{waits}Workers may join, {told}: datagen worker --head {host}:{port}")
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def stage(self) -> Stage:
        """Stands in place of the mode's own stages. Call it inside `opened`."""
        assert self.head is not None
        return Stage("workers", self.head.step, min(_MOST_OPEN, window_of(self._config)))

    def lines(self) -> Sequence[str]:
        """What each worker that is there does at present, as a sentence."""
        there = self.head.workers.values() if self.head is not None else ()
        return [worker_line(entry_of(row_of(each, self._journal.start), time.time())) for each in there]

    def _about(self, setup: Setup, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        config = self._config
        precision = self._journal.fact("precision")
        with contextlib.closing(connect(self._journal.path)) as connection:
            dimensions = read_dimensions(connection)
        return {
            "mode": self._mode.name,
            "config": self._settings,
            "files": files,
            "secrets": dict(config._secrets),
            "models": [
                (purpose, model.model_dump(mode="json")) for purpose, model in models_of(self._backends)
            ],
            "context": self._backends.context,
            "precision": precision,
            "dimensions": dimensions,
        }


def price_by(models: Sequence[tuple[str, ModelConfig]]) -> Price:
    """What an answer of the endpoint of that number costs; nothing where the price is not known."""
    prices = [price_of(model) or FREE.main for _, model in models]

    def price(number: int, completion: Completion) -> int:
        usage = completion.usage
        if usage.billed is not None:
            return usage.billed
        return prices[number].cost(
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.written_tokens,
            usage.tier,
        )

    return price


def python_version() -> str:
    """Of which release of Python a process is, as far as it matters for what it computes."""
    return ".".join(platform.python_version_tuple()[:2])


def refusal(join: Join) -> str:
    """Why a worker cannot belong to this run; '' if it can: it must compute the same."""
    if join.release != __version__:
        return f"it has DataGen {join.release}, and the head has {__version__}: install the same release"
    if join.python != python_version():
        return f"it runs on Python {join.python}, and the head on {python_version()}: use the same"
    return ""


def _unfit(ready: Ready, version: str) -> str:
    if version and ready.vectors and ready.vectors != version:
        return f"its embedding model is {ready.vectors}, and the head's is {version}"
    return ""
