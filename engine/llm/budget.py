"""The run's ceiling: the worst case of a call is set aside before it is sent, and settled after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from engine.errors import BudgetExhausted
from engine.items import usd
from engine.llm.wait_queue import WaitQueue


class BudgetStatistics(NamedTuple):
    """Picodollars, but for the counts."""

    cap: int | None
    spent: int
    reserved: int
    outstanding: int
    waiting: int


class Reservation:
    """Money set aside for one attempt. `settle` exactly once; 0 where nothing was charged."""

    __slots__ = ("_budget", "_follows", "amount")

    def __init__(self, budget: Budget, amount: int, *, follows: bool = False) -> None:
        """`follows`: the call is about something that an earlier one has brought."""
        self._budget = budget
        self._follows = follows
        self.amount = amount

    def settle(self, cost: int) -> None:
        self._budget._settled(self.amount, cost, follows=self._follows)


class Budget:
    """spent + reserved never passes the cap.

    A call that does not fit waits while others in flight may still give money back; when none is left in
    flight and it still does not fit, the budget is exhausted.
    A call that begins something new (of priority 0) leaves as much as `hold` says for finishing what is begun.
    What travels in batches is set aside beside that, for hours, over restarts: it is on record by itself.
    Mutable state: `spent`, `reserved`, `aside`, `followed`, `begun`, `hold`, the count outstanding, the line of
    waiters.
    """

    def __init__(self, cap: int | None, spent: int = 0) -> None:
        self.cap = cap
        self.spent = spent
        self._before = spent
        self.reserved = 0
        self.aside = 0
        """Picodollars set aside for batches."""
        self.followed = 0
        """Picodollars of this start's calls that went before those of priority 0: what finishing items has cost."""
        self.begun = 0
        """Calls of priority 0 that are paid for, or in flight."""
        self.hold: Callable[[], int] = lambda: 0
        self._outstanding = 0
        self._line: WaitQueue[Reservation] = WaitQueue()

    @property
    def exposed(self) -> int:
        """What this start has spent and may yet have to pay."""
        return self.spent - self._before + self.reserved

    def reachable(self, more: int) -> int:
        """What this start may have to pay if `more` is set aside as well, within the cap."""
        most = self.exposed + more
        return most if self.cap is None else min(most, self.cap - self._before - self.aside)

    def try_reserve(self, amount: int, priority: int = 0) -> Reservation | None:
        """Sets aside `amount` if that can be done at once, and nobody is waiting."""
        free = self._line.head is None and self._fits(amount, priority)
        return self._grant(amount, priority) if free else None

    async def reserve(self, amount: int, priority: int = 0, ticket: int | None = None) -> Reservation:
        """Sets aside `amount` picodollars. `ticket` is the call's place in line. Raises BudgetExhausted."""
        if (reservation := self.try_reserve(amount, priority)) is not None:
            return reservation
        future = self._line.join(priority, amount, ticket=ticket)
        self._admit()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().settle(0)  # granted in the same instant as cancelled
            self._admit()
            raise

    def put_aside(self, amount: int, kept: int = 0, *, whatever: bool = False) -> bool:
        """Sets `amount` aside for a batch if that leaves `kept`; one that is sent already: `whatever` the cap is."""
        fits = self.cap is None or self.spent + self.reserved + self.aside + amount + kept <= self.cap
        if fits or whatever:
            self.aside += amount
        return fits or whatever

    def take_back(self, amount: int, cost: int = 0) -> None:
        """Settles what was set aside for a batch by what it has cost."""
        self.aside -= amount
        self.spent += cost
        self._before += cost  # on record by itself, and no part of what this start may have to pay
        self._admit()

    def start_over(self) -> None:
        """Forgets what finishing items has cost: another pass counts anew, as another start does."""
        self.followed = self.begun = 0

    def close(self, reason: BaseException) -> None:
        """Those in line get the reason instead of money."""
        self._line.dismiss(reason)

    def _fits(self, amount: int, priority: int) -> bool:
        if self.cap is None:
            return True
        kept = self.hold() if priority >= 0 and self._outstanding else 0
        return self.spent + self.reserved + self.aside + amount + kept <= self.cap

    def _grant(self, amount: int, priority: int) -> Reservation:
        self.reserved += amount
        self._outstanding += 1
        self.begun += priority >= 0
        return Reservation(self, amount, follows=priority < 0)

    def _settled(self, amount: int, cost: int, *, follows: bool) -> None:
        self.reserved -= amount
        self.spent += cost
        if follows:
            self.followed += cost
        elif cost == 0:
            self.begun -= 1
        self._outstanding -= 1
        self._admit()

    def _admit(self) -> None:
        while (head := self._line.head) is not None and self._fits(head.amount, head.priority):
            self._line.pop().future.set_result(self._grant(head.amount, head.priority))
        if self._line.head is not None and self._outstanding == 0:
            self._line.dismiss(self._exhausted(self._line.head.amount))

    def _exhausted(self, amount: int) -> BudgetExhausted:
        return BudgetExhausted(
            f"${usd(self.spent):.4f} of ${usd(self.cap or 0):.4f} is spent and the next call "
            f"may cost ${usd(amount):.4f}"
        )

    def statistics(self) -> BudgetStatistics:
        return BudgetStatistics(self.cap, self.spent, self.reserved, self._outstanding, len(self._line))

    def __repr__(self) -> str:
        cap = "no cap" if self.cap is None else f"${usd(self.cap):.4f}"
        return f"<Budget ${usd(self.spent):.4f} spent, ${usd(self.reserved):.4f} reserved, {cap}>"
