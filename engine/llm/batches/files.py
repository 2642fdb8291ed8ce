"""Batches for a program of one's own, such as `vllm run-batch`, which reads a part's file and writes another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import orjson

from engine.config import ModelConfig
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.batches.backed import Backed
from engine.llm.batches.door import Capacity, Request, Result, Told
from engine.llm.batches.openai import result_of
from engine.llm.batches.spool import RESULTS


class FileExchange(Backed):
    """A Door whose provider is whoever writes the file of results. It is whole once it has a line for each call, or
    once it has not grown for a minute.

    Mutable state: the files that are not waited for any more.
    """

    capacity = Capacity(1_000_000, 4_000_000_000)
    names_requests_only = False
    still_s = 60.0

    def __init__(self, model: ModelConfig, backend: NegotiatingBackend, folder: Path) -> None:
        super().__init__(backend)
        self._model = model
        self._folder = folder
        self._cancelled: set[str] = set()

    def line(self, id: str, request: Request) -> bytes:
        return orjson.dumps(
            {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": request.body}
        )

    def settled(self, purpose: str) -> bool:
        return True  # nobody may be there to be asked

    async def upload(self, file: Path, name: str) -> str:
        return ""

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        return Told(file.name, "running", "waiting", created=time.time(), tag=tag)

    async def made(self, since: float) -> Sequence[Told]:
        return ()

    async def poll(self, ids: Sequence[str]) -> Mapping[str, Told]:
        return {id: await asyncio.to_thread(self._told, id) for id in ids}

    def _told(self, id: str) -> Told:
        results = self._results(id)
        if id in self._cancelled:
            return Told(id, "ended", "cancelled", outputs=(id,))
        if not results.exists():
            return Told(id, "running", "waiting")
        with (self._folder / id).open("rb") as asked, results.open("rb") as answered:
            total, done = sum(1 for _ in asked), sum(b'"custom_id"' in line for line in answered)
        still = time.time() - results.stat().st_mtime > self.still_s
        whole = done >= total or still
        return Told(
            id, "ended" if whole else "running", "written" if whole else "growing", total, done, outputs=(id,)
        )

    def _results(self, id: str) -> Path:
        return (self._folder / id).with_suffix(RESULTS)

    async def results(self, told: Told) -> AsyncIterator[Result | None]:
        if not self._results(told.id).exists():
            return
        with self._results(told.id).open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield result_of(line)

    async def cancel(self, id: str) -> None:
        """Waits no longer for the results; the program is the user's to stop."""
        self._cancelled.add(id)

    async def close(self) -> None: ...
