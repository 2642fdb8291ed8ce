"""What is known of a batch and of the calls in it: values that the journal keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from engine.errors import PermanentError
from engine.items import Completion, Prompt

WINDOW_S = 86_400.0
"""Seconds in which providers promise a batch."""


class State(StrEnum):
    """Where a part stands. Each is on disk before what it speaks of is done."""

    SPOOLED = "spooled"
    """Its file is written; nobody has been told of it, and it may be dropped."""
    INTENT = "intent"
    """Its money is set aside."""
    UPLOADED = "uploaded"
    """The provider has its file."""
    TOLD = "told"
    """The provider was asked to make a batch of it, and has not been heard to have made one."""
    CREATED = "created"
    """The provider works on it."""
    ENDED = "ended"
    """The provider has done what it will do; the answers are being collected."""
    COLLECTED = "collected"
    GONE = "gone"
    """Its provider does not know it any more; the most that it may have cost counts as spent."""
    VOID = "void"
    """Nothing of it was answered or will be, and nothing is owed."""


OPEN = (State.INTENT, State.UPLOADED, State.TOLD, State.CREATED, State.ENDED)
"""Parts that money is set aside for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Calls to one endpoint that travel together, as one batch of its provider."""

    number: int
    wave: int
    endpoint: str
    """The lane's name; see waves."""
    state: State
    file: str
    """Its requests, relative to the run folder."""
    sha: str
    calls: int
    bytes: int
    worst: int
    """Picodollars: the most that it can cost."""
    tag: str
    """By which its batch is found again."""
    intent_at: float | None = None
    file_id: str = ""
    told_at: float | None = None
    batch_id: str = ""
    expires_at: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the provider last said: total, done, failed."""
    cost: int = 0
    """Picodollars of all its answers, once it is collected."""
    lost: int = 0
    """Of these, for answers that are not kept."""
    start: int = 0
    """The start that has collected it."""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """By purpose, how its calls are asked, as the door keeps it."""

    @property
    def until(self) -> float | None:
        """Seconds since the epoch by which its batch has ended; None before there may be one."""
        if self.expires_at is not None or self.told_at is None:
            return self.expires_at
        return self.told_at + WINDOW_S


class Fate(StrEnum):
    """What became of one call in a part."""

    WAITING = "waiting"
    ANSWERED = "answered"
    AGAIN = "again"
    """It was not answered: it joins a later part."""
    ONLINE = "online"
    """It was refused, or cut short: it is asked online, where a refusal teaches what to change."""


class Asked(NamedTuple):
    """One call in a part, without its texts."""

    id: str
    """As the provider knows it: at most 64 of the characters A-Z a-z 0-9 _ -."""
    part: int
    n: int
    """Its place among them."""
    key: str
    purpose: str
    batch: int
    """Of the plan."""
    owner: str
    model: str
    """The prompt's, where several serve its purpose."""
    characters: int
    bound: int
    limit: int
    """The longest answer that was asked for, in tokens, with reasoning."""
    answer: int
    """The same without reasoning."""
    least: int
    upper: int
    """The fewest tokens of its texts, and an upper estimate."""
    sent: str
    """What was sent otherwise than the prompt says, as JSON; '' for nothing."""
    tries: int
    """Parts that it has been in, with this one."""
    shortened: bool
    """Whether a shorter answer was asked for than the prompt says."""
    fate: str = Fate.WAITING

    @property
    def prompt(self) -> Prompt:
        """What the journal records of its prompt."""
        return Prompt(
            self.key, self.purpose, self.batch, "", "", {}, 0.0, self.answer, 0, model=self.model, owner=self.owner
        )  # fmt: skip


class Answer(NamedTuple):
    """What came of one call. `outcome` is None where the journal has it, or where there is none to keep."""

    asked: Asked
    outcome: Completion | PermanentError | None


class Book(Protocol):
    """Keeps parts and their calls; what it returns from is on disk."""

    nonce: str
    """Tells this run's parts from those of other runs of the same account."""

    def parts(self, *states: State) -> list[Part]:
        """The parts in one of these states, by number."""
        ...

    def next_number(self) -> int:
        """Of a further part."""
        ...

    def waves(self) -> int:
        """How many there have been."""
        ...

    def begin(self, part: Part) -> None:
        """Queues a part, without waiting; likewise its calls with `append`."""
        ...

    def append(self, calls: Sequence[Asked]) -> None: ...

    async def put(self, *parts: Part) -> None:
        """Replaces what was known of them."""
        ...

    async def split(self, part: Part, first: Part, second: Part) -> None:
        """Puts two parts in place of one: the first takes over its first calls, in the order of its file."""
        ...

    def asked(self, part: int, ids: Sequence[str]) -> dict[str, Asked]:
        """Those calls of the part that have one of these ids."""
        ...

    def at(self, part: int, lines: Sequence[int]) -> list[Asked]:
        """The calls on these lines of its file, from 1."""
        ...

    def waiting(self, part: int, most: int) -> list[Asked]:
        """So many of its calls of which nothing is known yet, in order."""
        ...

    def keep_prompt(self, prompt: Prompt) -> None:
        """Keeps what a call is asked, where prompts are kept."""
        ...

    def holds(self, key: str) -> bool:
        """Whether the journal has this call's outcome."""
        ...

    async def answered(self, answers: Sequence[Answer]) -> None:
        """Records answers and what became of the calls, together."""
        ...

    async def relent(self, part: int, purpose: str) -> None:
        """Lets the calls for this purpose that were to go online join a later part."""
        ...

    def longest(self) -> dict[str, int]:
        """Tokens of the longest answer by purpose, with reasoning, where enough are known."""
        ...

    def unanswered(self) -> dict[str, tuple[int, bool]]:
        """By key, the calls that parts have not answered: how often they were tried, and whether they go online."""
        ...
