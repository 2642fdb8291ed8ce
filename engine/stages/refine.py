"""One validator's step: an item in, the same item with the verdict on its record out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from engine.errors import EngineError, PermanentError, TargetReached
from engine.flow.halt import Halt
from engine.items import Item, Verdict
from engine.protocols import Validator


class Refine:
    """Walks items past one validator. What the validator cannot judge costs that item alone."""

    def __init__(self, validator: Validator, halt: Halt) -> None:
        self._validator = validator
        self._halt = halt

    async def __call__(self, item: Item) -> Sequence[Item]:
        if item.settled or isinstance(self._halt.reason, TargetReached):
            return (item,)
        began = time.perf_counter()
        verdict = await self._verdict(item)
        seconds = round(time.perf_counter() - began, 6)
        return (item.judged(replace(verdict, by=self._validator.name, seconds=seconds)),)

    async def _verdict(self, item: Item) -> Verdict:
        name = self._validator.name
        try:
            return await self._validator.validate(item)
        except PermanentError as error:
            return Verdict.rejected(name, error.reason, str(error))
        except EngineError:
            raise
        except Exception as error:  # somebody else's code: its fault on one item must not end the night
            return Verdict.rejected(name, "validator_error", f"{type(error).__name__}: {error}")
