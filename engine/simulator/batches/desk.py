"""The life of simulated batches: checked, answered in any order, ended, expired or cancelled; and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.config.simulator import BatchKnobs
from engine.simulator.dialects.thinking import CHARACTERS_PER_TOKEN

Reply = Callable[[Mapping[str, Any]], Awaitable[tuple[int, Any]]]
"""(status, body) of the same request online."""
_DAY_S = 86_400.0
_STEPS = 10
"""Looks that can see a batch half done."""


@dataclass
class Batch:
    """Mutable while it lives."""

    id: str
    calls: Sequence[tuple[str, Mapping[str, Any]]]
    """(id, body) of each."""
    made: float
    tag: str = ""
    file: str = ""
    endpoint: str = ""
    state: str = "validating"
    at: dict[str, float] = field(default_factory=dict)
    """When it entered each state, in seconds since the epoch."""
    errors: Sequence[dict[str, Any]] = ()
    results: dict[str, tuple[int, Any]] = field(default_factory=dict)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    outputs: dict[str, str] = field(default_factory=dict)
    """Ids of its files, for APIs that have files."""

    @property
    def is_cancelled(self) -> bool:
        return self.cancelled.is_set()

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "failed", "expired", "cancelled")

    @property
    def succeeded(self) -> int:
        return sum(status == 200 for status, _ in self.results.values())

    @property
    def tokens(self) -> int:
        """Of its prompts, roughly, as a queue counts them."""
        return sum(
            len(orjson.dumps(body.get("messages", body.get("contents")))) for _, body in self.calls
        ) // (CHARACTERS_PER_TOKEN)

    def enter(self, state: str) -> None:
        self.state = state
        self.at[state] = time.time()


class Desk:
    """All batches of the endpoint. Mutable state: they, their tasks, what was answered, the faults still to come."""

    def __init__(self, knobs: BatchKnobs, seed: int, reply: Reply) -> None:
        self.knobs = knobs
        self.batches: dict[str, Batch] = {}
        self.answered: Counter[str] = Counter()
        """How often each call was, by its id."""
        self.calls: Counter[str] = Counter()
        """Requests by kind."""
        self.losing = knobs.lose_create
        self.failing = knobs.fail_create
        self._reply = reply
        self._chance = random.Random(f"batches/{seed}")
        self._tasks: set[asyncio.Task[None]] = set()
        self._files: dict[str, tuple[bytes, float]] = {}

    def shown(self) -> dict[str, Any]:
        """For /stats."""
        return {
            "made": len(self.batches),
            "calls": sum(len(each.calls) for each in self.batches.values()),
            "answered": self.answered.total(),
            "requests": dict(self.calls),
        }

    # --- files ---

    def keep(self, data: bytes, *, at_once: bool = True) -> str:
        """The id of a new file; it cannot be found before `file_lag_s` unless `at_once`."""
        id = self.new_id("file-")
        ready = time.monotonic() + (0.0 if at_once else self.knobs.file_lag_s)
        self._files[id] = data, ready
        return id

    def file(self, id: str) -> bytes | None:
        data, ready = self._files.get(id, (None, 0.0))
        return data if time.monotonic() >= ready else None

    def forget(self, id: str) -> None:
        self._files.pop(id, None)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{len(self._files) + len(self.batches):05}{self._chance.getrandbits(64):016x}"

    # --- batches ---

    def create(self, prefix: str, calls: Sequence[tuple[str, Mapping[str, Any]]], **rest: Any) -> Batch:
        """A new batch, whose life begins."""
        batch = Batch(self.new_id(prefix), calls, time.time(), **rest)
        self.batches[batch.id] = batch
        self._tasks.add(task := asyncio.create_task(self._live(batch), name="batch"))
        task.add_done_callback(self._tasks.discard)
        return batch

    def newest(self) -> list[Batch]:
        return list(reversed(self.batches.values()))

    def waiting(self, besides: Batch | None = None) -> list[Batch]:
        return [each for each in self.batches.values() if not each.ended and each is not besides]

    def expires(self, batch: Batch) -> float:
        """Seconds since the epoch, as told: a day after it was made, whatever a day lasts here."""
        return batch.made + _DAY_S

    def loses(self) -> bool:
        """Whether the reply to this creation gets lost."""
        self.losing -= (lost := self.losing > 0)
        return lost

    def fails(self) -> bool:
        """Whether this creation fails, and nothing is made."""
        self.failing -= (failed := self.failing > 0)
        return failed

    async def _live(self, batch: Batch) -> None:
        knobs, began = self.knobs, time.monotonic()
        takes = self._chance.uniform(knobs.quickest, knobs.slowest) * knobs.day_s
        stalls = self._chance.random() < knobs.stall
        await asyncio.sleep(0.05 * takes)
        most = knobs.enqueued_tokens
        if (
            not batch.errors
            and most
            and batch.tokens + sum(each.tokens for each in self.waiting(batch)) > most
        ):
            said = (
                f"Enqueued token limit reached for the model in organization org-0. Limit: {most:,} enqueued tokens. "
                "Please try again once some in_progress batches have been completed."
            )
            batch.errors = [{"code": "token_limit_exceeded", "message": said, "param": None, "line": None}]
        if batch.errors:
            batch.enter("failed")
            return
        batch.enter("in_progress")
        order = list(batch.calls)
        self._chance.shuffle(order)
        last = int(knobs.stalled_at * len(order)) if stalls else len(order)
        step = max(1, len(order) // _STEPS)
        for place in range(0, last, step):
            if not await self._until(batch, began + takes * (0.05 + 0.9 * (place + step) / len(order))):
                break
            for id, body in order[place : min(place + step, last)]:
                await self._answer(batch, id, body)
        if last < len(order) and not batch.is_cancelled:
            await self._until(batch, began + knobs.day_s)
        left = any(id not in batch.results for id, _ in batch.calls)
        if not batch.is_cancelled and not left:
            batch.enter("finalizing")
            await asyncio.sleep(0.05 * takes)
        batch.enter("cancelled" if batch.is_cancelled else "expired" if left else "completed")

    async def _until(self, batch: Batch, moment: float) -> bool:
        """Waits; False once it is cancelled."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - time.monotonic())):
                await batch.cancelled.wait()
        return not batch.is_cancelled

    async def _answer(self, batch: Batch, id: str, body: Mapping[str, Any]) -> None:
        point = self._chance.random()
        if point < self.knobs.line_errors:
            batch.results[id] = (
                500,
                {"error": {"message": "The server had an error.", "type": "server_error"}},
            )
            return
        status, reply = await self._reply(body)
        self.answered[id] += status == 200
        batch.results[id] = status, reply

    def lines(self, made: Sequence[bytes], seed: str) -> list[bytes]:
        """Lines of results, as a fault of the knobs leaves them."""
        chance, knobs = random.Random(f"{seed}/lines"), self.knobs
        lines = [line for line in made if chance.random() >= knobs.missing_lines]
        if lines and knobs.odd_lines:
            lines += [
                lines[0],
                lines[-1][: len(lines[-1]) // 2],
                b'{"custom_id": "somebody-elses", "response": null}',
            ]
        return lines
