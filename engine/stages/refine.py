"""One validator's step: an item in, the same item with the verdict on its record out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.errors import FatalError, PermanentError, StopRun, TargetReached
from engine.flow.halt import Halt
from engine.items import Decision, Item, Verdict
from engine.protocols import Validator


class Refine:
    """Walks items past one validator. What the validator cannot judge costs that item alone."""

    def __init__(self, validator: Validator, halt: Halt, verify: Callable[[Item], None]) -> None:
        """`verify` raises for a revised item that the dataset has no form for."""
        self._validator = validator
        self._halt = halt
        self._verify = verify

    async def __call__(self, item: Item) -> Sequence[Item]:
        if item.settled or isinstance(self._halt.reason, TargetReached):
            return (item,)
        began = time.perf_counter()
        judged = await self._judged(item)
        seconds = round(time.perf_counter() - began, 6)
        *earlier, last = judged.verdicts
        return (judged.evolve(verdicts=(*earlier, replace(last, seconds=seconds))),)

    async def _judged(self, item: Item) -> Item:
        name = self._validator.name
        try:
            verdict = await self._validator.validate(item)
            judged = item.judged(replace(verdict, by=name))
            if verdict.decision is Decision.REVISE:
                self._verify(judged)
            return judged
        except (FatalError, StopRun):
            raise
        except PermanentError as error:
            return item.judged(Verdict.rejected(name, error.reason, str(error)))
        except Exception as error:  # somebody else's code: its fault on one item must not end the night
            return item.judged(Verdict.rejected(name, "validator_error", f"{type(error).__name__}: {error}"))
