"""What head and workers say to each other: frozen messages, each a JSON array on the wire.

A link carries them in order. What a worker says counts only under the epoch that the head gave it: see `head`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import orjson

from engine.spread.wire import Plain

Call = int
"""A worker's number for one of its calls."""
Attempt = int
"""The head's number for one attempt of a call at one worker."""
Unit = int
"""The head's number for a batch, or an item, that it has given to a worker."""


@dataclass(frozen=True, slots=True)
class Message:
    """All values are JSON values; see `wire`."""


# --- from the head ---


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The run, as far as a worker needs it; `about` is for whoever puts its stages together."""

    epoch: int
    silence_s: float
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """The head does not want this worker, and why."""

    said: str


@dataclass(frozen=True, slots=True)
class Work(Message):
    """Make this batch, or check this item. `held`: (item, digest of its text, vector) that are journaled already."""

    unit: Unit
    batch: Plain
    item: Plain = None
    held: Sequence[Plain] = ()


@dataclass(frozen=True, slots=True)
class Go(Message):
    """Make this attempt of your call now: it has its place, its money, and both on record."""

    attempt: Attempt
    call: Call
    endpoint: int
    max_tokens: int
    streamed: bool


@dataclass(frozen=True, slots=True)
class Leave(Message):
    """Nobody waits for this attempt any more."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Told(Message):
    """What became of a call, once it is on disk. `of`: the attempt whose text it has."""

    call: Call
    completion: Plain = None
    of: Attempt | None = None
    error: Plain = None
    """None without a completion either: the answer comes with a later pass."""


@dataclass(frozen=True, slots=True)
class TermsKnown(Message):
    """What another worker, or the head, has settled with the endpoints."""

    terms: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ending(Message):
    """The run is halted, and why."""

    reason: Plain


@dataclass(frozen=True, slots=True)
class Cut(Message):
    """What is under way is waited for no longer."""


@dataclass(frozen=True, slots=True)
class Stop(Message):
    """Nothing more comes; go."""

    said: str


# --- from a worker ---


@dataclass(frozen=True, slots=True)
class Join(Message):
    """Who asks to work. `token` is what the head gave out."""

    token: str
    release: str
    python: str
    host: str
    pid: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """The stages are open; how their validators describe themselves, and what vectors depend on."""

    described: dict[str, Any]
    vectors: str = ""


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """The stages cannot be opened."""

    error: Plain


@dataclass(frozen=True, slots=True)
class SchemaKnown(Message):
    """The schema that later prompts name by this number."""

    number: int
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked(Message):
    """A call that a stage waits for."""

    call: Call
    prompt: Plain
    schema: int


@dataclass(frozen=True, slots=True)
class Forgotten(Message):
    """The stage waits for this call no longer."""

    call: Call


@dataclass(frozen=True, slots=True)
class Heard(Message):
    """So many pieces of a streamed answer have come."""

    attempt: Attempt
    pieces: int


@dataclass(frozen=True, slots=True)
class Answered(Message):
    """How an attempt ended, and what the endpoint has announced or settled with it, where that is new."""

    attempt: Attempt
    completion: Plain = None
    error: Plain = None
    limits: Plain = None
    notices: Sequence[Plain] = ()
    terms: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Made(Message):
    """An item that is through. `digest`: of the text that its vector was made from, where that is not journaled yet."""

    unit: Unit
    item: Plain
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Lost(Message):
    """The unit, or one of its `of` items, does not come: a later pass makes it, or `error` says what halts the run."""

    unit: Unit
    of: int = 0
    """0 for all of it."""
    error: Plain = None


@dataclass(frozen=True, slots=True)
class Leaving(Message):
    """The worker was asked to end: it finishes what it has, and wants no more."""


@dataclass(frozen=True, slots=True)
class Fetch(Message):
    """Wanted: the bytes of a file that the hello named."""

    number: int


@dataclass(frozen=True, slots=True)
class Piece(Message):
    """Some of a file, in base64; the last one of it is empty."""

    number: int
    data: str


@dataclass(frozen=True, slots=True)
class Beat(Message):
    """A sign of life."""

    units: int = 0
    calls: int = 0


VERSION = 2
"""Of the wire: of the frames, and of the messages in their order here."""
KINDS: tuple[type[Message], ...] = (
    Hello, Refused, Work, Go, Leave, Told, TermsKnown, Ending, Cut, Stop, Join, Ready, Failed, SchemaKnown, Asked,
    Forgotten, Heard, Answered, Made, Lost, Leaving, Fetch, Piece, Beat,
)  # fmt: skip
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_VALUES = {
    kind: attrgetter(*names) if len(names := [each.name for each in fields(kind)]) > 1 else None
    for kind in KINDS
}
_SINGLE = {kind: fields(kind)[0].name for kind in KINDS if len(fields(kind)) == 1}


def _row(message: Message) -> Plain:
    kind = type(message)
    values = _VALUES[kind]
    if values is not None:
        return [_NUMBERS[kind], *values(message)]
    name = _SINGLE.get(kind)
    return [_NUMBERS[kind]] if name is None else [_NUMBERS[kind], getattr(message, name)]


def encoded(messages: Iterable[Message]) -> tuple[bytes, bool]:
    """The bytes, and whether they are such that only Python's own module reads them back exactly.

    That is for whole numbers beyond 64 bits and for halves of surrogate pairs, which models do write.
    """
    rows = [_row(message) for message in messages]
    try:
        return orjson.dumps(rows, default=_written), False
    except TypeError:
        return json.dumps(rows, default=_written).encode(), True


def _written(value: Any) -> Any:
    return (
        dict(value) if hasattr(value, "keys") else list(value) if hasattr(value, "__iter__") else str(value)
    )


def decoded(data: bytes | memoryview, *, exactly: bool = False) -> list[Message]:
    """Raises ValueError for anything else than what `encoded` makes."""
    try:
        rows = json.loads(bytes(data)) if exactly else orjson.loads(data)
        return [KINDS[kind](*values) for kind, *values in rows]
    except (TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"no message: {error}") from None
