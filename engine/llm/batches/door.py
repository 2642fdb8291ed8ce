"""What a provider's batch API can do, whichever provider's it is: one protocol, and the values that it speaks in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from engine.errors import BadRequest
from engine.items import Completion, Prompt

Stage = Literal["running", "ended", "refused"]
"""`refused`: the provider has looked at the requests and will answer none of them; nothing is charged."""


class Capacity(NamedTuple):
    """The most that one batch may hold."""

    calls: int
    bytes: int


class Fault(NamedTuple):
    """Why a provider refuses a batch, or one request in it."""

    line: int | None
    """Of its file, from 1."""
    code: str
    message: str
    param: str | None = None


class Told(NamedTuple):
    """What a provider says of a batch."""

    id: str
    stage: Stage
    said: str
    """Its own word for the state, such as 'expired'."""
    total: int = 0
    done: int = 0
    failed: int = 0
    created: float | None = None
    """Seconds since the epoch."""
    expires: float | None = None
    tag: str = ""
    file: str = ""
    """The id of the file that it was made of, where it is told."""
    faults: tuple[Fault, ...] = ()
    outputs: tuple[Any, ...] = ()
    """Where its results are, as the door knows them."""

    @property
    def counts(self) -> dict[str, int]:
        return {"total": self.total, "done": self.done, "failed": self.failed}


class Request(NamedTuple):
    """A call as it is written into a part's file."""

    body: Mapping[str, Any]
    limit: int
    """The longest answer that it asks for, in tokens."""
    sent: Mapping[str, Any]
    """What it asks otherwise than the prompt says."""


class Result(NamedTuple):
    """One line of a batch's results."""

    id: str
    status: int | None
    """As if the call had been made online; None where it was not made at all."""
    body: bytes
    """The reply of a success, or of a refusal."""
    why: str = ""
    """Why it was not made: expired, cancelled."""


class Door(Protocol):
    """One endpoint's batches. Its methods raise what a call raises; see engine.errors."""

    name: str
    """For people: the provider or address."""
    capacity: Capacity
    names_requests_only: bool
    """Whether a batch carries no tag, so that it can be found again by its calls alone."""

    def request(self, prompt: Prompt) -> Request: ...

    def line(self, id: str, request: Request) -> bytes:
        """The request as it stands in a file, without the end of the line."""
        ...

    async def upload(self, file: Path, name: str) -> str:
        """Passes a file on; its id at the provider, '' where a file has none of its own."""
        ...

    async def create(self, file: Path, file_id: str, tag: str) -> Told:
        """Asks for a batch, once. No provider recognises the same request again: never call it twice unasked."""
        ...

    async def made(self, since: float) -> Sequence[Told]:
        """Batches of the account that were made since then, newest first."""
        ...

    async def poll(self, ids: Sequence[str]) -> Mapping[str, Told]:
        """How these batches stand; those that the provider does not know are missing."""
        ...

    def results(self, told: Told) -> AsyncIterator[Result | None]:
        """All results of a batch that has ended, in any order; None for a line that cannot be read.

        Raises EndpointError where the provider has deleted them.
        """
        ...

    def read(self, body: bytes) -> Completion:
        """What a success's body holds. Raises as the endpoint's backend does."""
        ...

    def settled(self, purpose: str) -> bool:
        """Whether it is known how calls for this purpose are taken."""
        ...

    def terms(self, purpose: str) -> Mapping[str, Any]:
        """How calls for this purpose are asked now, as plain JSON values."""
        ...

    def answered(self, purpose: str, terms: Mapping[str, Any]) -> None:
        """Hears that calls for this purpose were answered that were asked so."""
        ...

    def refused(self, purpose: str, refusal: BadRequest, terms: Mapping[str, Any]) -> bool:
        """Hears that they were refused. Whether they are asked otherwise from now on."""
        ...

    async def cancel(self, id: str) -> None: ...

    async def close(self) -> None: ...


def size_of(file: Path) -> int:
    """Bytes."""
    return file.stat().st_size
