"""What a provider's refusal of a batch means: no room, no money, or requests that must be asked otherwise."""

from __future__ import annotations

import re

from engine.errors import BadRequest
from engine.llm.batches.door import Fault
from engine.llm.batches.part import Part
from engine.llm.batches.spool import Lane

MANY = 0.05
"""The share of refused calls from which it is the way of asking that is at fault, and not the calls."""
_ROOM = re.compile(
    r"token_?limit_?exceeded|enqueued token|in the processing queue|too many (?:batches|batch requests|pending)"
    r"|queue(?:d)? .{0,20}(?:full|limit)|batch(?:es)? .{0,40}limit .{0,40}(?:reached|exceeded)",
    re.IGNORECASE,
)
_MONEY = re.compile(
    r"billing_hard_limit|insufficient_quota|hard limit|credit balance|exceeded your current quota|no credit",
    re.IGNORECASE,
)


def named(fault: Fault) -> str:
    return ": ".join(filter(None, (fault.code, fault.message)))


def about_room(said: str) -> bool:
    """Whether there is no room for a batch now, or none for one so large."""
    return _ROOM.search(said) is not None


def about_money(said: str) -> bool:
    """Whether the account is empty."""
    return _MONEY.search(said) is not None


def many(count: int, of: int) -> bool:
    """Whether so many refused calls say something about how calls are asked."""
    return count >= MANY * of


def changed(lane: Lane, part: Part, purpose: str, refusal: BadRequest) -> bool:
    """Whether further calls for this purpose are asked otherwise, as after the same refusal online."""
    return lane.door.refused(purpose, refusal, part.terms.get(purpose, {}))
