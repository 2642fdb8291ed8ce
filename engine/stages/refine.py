"""One validator's step: takes an item and returns it with the verdict on its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.dataset.forms import SOLUTION_DIFFERS, FieldProblem
from engine.errors import FatalError, PermanentError, StopRun, TargetReached
from engine.flow.halt import Halt
from engine.items import Decision, Item, Verdict, changed
from engine.protocols import Validator
from engine.stages.meter import Meter

_ROUNDS = 3
"""Most times that a revised item passes the earlier validators again, while they still change it."""


class Refine:
    """Passes items through one validator. If it cannot judge an item, only that item is rejected.

    An item that it revises passes the earlier validators again: the cheap checks, and the programs. If they
    reject it, it stays rejected; but a tentative revision is undone, and the item stays as it was.
    """

    def __init__(
        self,
        validator: Validator,
        halt: Halt,
        verify: Callable[[Item], None],
        earlier: Sequence[Validator] = (),
        meter: Meter | None = None,
    ) -> None:
        """`verify` raises for a revised item that the dataset cannot represent. `meter` counts usage."""
        self._validator = validator
        self._halt = halt
        self._verify = verify
        self._earlier = earlier
        self._meter = meter or Meter()

    async def __call__(self, item: Item) -> Sequence[Item]:
        if item.settled or isinstance(self._halt.reason, TargetReached):
            return (item,)
        judged = await self.judged(self._validator, item)
        if judged.revisions == item.revisions:
            return (judged,)
        tentative = judged.verdicts[-1].tentative
        return (await self._kept(item, judged) if tentative else await self._again(judged),)

    async def _kept(self, before: Item, revised: Item) -> Item:
        """The revised item if all earlier validators pass it unchanged, else the item before the revision."""
        item = revised
        for validator in self._earlier:
            item = await self.judged(validator, item)
            if item.settled or item.revisions > revised.revisions:
                last = item.verdicts[-1]
                return _taken_back(before, revised, item, last.by, last.reason, last.feedback)
        return item

    async def _again(self, item: Item) -> Item:
        """Passes a revised item through the earlier validators until none of them changes it any more."""
        for _ in range(_ROUNDS):
            before = item.revisions
            for validator in self._earlier:
                if not item.settled:
                    item = await self.judged(validator, item)
            if item.settled or item.revisions == before:
                return item
        said = "one validator changes what another has settled"
        return item.judged(Verdict.rejected(self._validator.name, "unstable", said))

    async def judged(self, validator: Validator, item: Item) -> Item:
        """The item with the verdict of this validator, and its revision where there is one."""
        began = time.perf_counter()
        with self._meter.account(item) as account:
            verdict = await self._verdict(validator, item)
        seconds = round(time.perf_counter() - began, 6)
        judged = item.judged(replace(verdict, usage=account.usage, calls=account.calls, seconds=seconds))
        if judged.revisions > item.revisions and not item.model:  # a row: this model wrote its new parts
            return judged.evolve(model=account.model)
        return judged

    async def _verdict(self, validator: Validator, item: Item) -> Verdict:
        name = validator.name
        try:
            verdict = replace(await validator.validate(item), by=name)
            if verdict.decision is not Decision.REVISE:
                return verdict
            try:
                self._verify(item.judged(verdict))
            except Exception as error:
                if not verdict.tentative:
                    raise
                return _standing(verdict, "no_form", f"{type(error).__name__}: {error}")
            return _with_before(verdict, item)
        except (FatalError, StopRun):
            raise
        except PermanentError as error:
            return Verdict.rejected(name, error.reason, str(error))
        except Exception as error:  # third-party code: its error on one item must not end the run
            if isinstance(error, FieldProblem) and error.reason == SOLUTION_DIFFERS:
                return Verdict.rejected(name, error.reason, str(error))
            return Verdict.rejected(name, "validator_error", f"{type(error).__name__}: {error}")


def _with_before(verdict: Verdict, item: Item) -> Verdict:
    """The verdict with what the revision has changed, as it was, unless the validator records that itself."""
    if verdict.item is None or "before" in verdict.record:
        return verdict
    return replace(verdict, record={**verdict.record, "before": changed(item, verdict.item)})


def _standing(verdict: Verdict, reason: str, said: str, by: str = "dataset") -> Verdict:
    """The verdict recorded for an undone tentative revision: the original is kept, and why."""
    record = {**verdict.record, "discarded": {"by": by, "reason": reason}}
    return replace(verdict, decision=Decision.PASS, reason=reason, feedback=said, item=None, record=record)


def _taken_back(before: Item, revised: Item, checked: Item, by: str, reason: str, said: str) -> Item:
    """The item before the revision, with the usage of the revision added."""
    verdict = _standing(revised.verdicts[-1], reason, said, by)
    return before.evolve(usage=checked.usage, verdicts=(*before.verdicts, verdict))
