"""The doors: what the engine asks of a model endpoint, a validator and a journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from engine.constraints import Constraint
from engine.errors import PermanentError
from engine.items import Completion, Item, Prompt, Verdict


@runtime_checkable
class Backend(Protocol):
    """One model endpoint. One `complete` is one attempt: no retries, no waiting for limits."""

    name: str

    async def complete(self, prompt: Prompt) -> Completion:
        """Ask once. Raises TransientError, PermanentError or FatalError; see engine.errors.

        `usage.cost` is 0 in what comes back: pricing is the client's.
        """
        ...

    async def close(self) -> None: ...


class CallJournal(Protocol):
    """Where completions are kept before anyone looks inside them."""

    def find(self, key: str) -> Completion | PermanentError | None:
        """What the journal holds for this call, if anything."""
        ...

    async def authorize(self, amount: int) -> None:
        """Note that this start may spend up to `amount` picodollars; on disk when this returns."""
        ...

    async def record(self, prompt: Prompt, outcome: Completion | PermanentError) -> None:
        """Returns once the outcome is on disk. Raises StoreError."""
        ...


class Validator(Protocol):
    """Looks at one item. Raises PermanentError to reject it, FatalError to stop the run.

    An entry point of the group `datagen.validators` names a factory: `factory(tools, **options)`,
    with the options that the config gives for it. It raises TypeError or ValueError on wrong options.
    """

    name: str

    async def validate(self, item: Item) -> Verdict: ...


Ask = Callable[[Prompt], Awaitable[Completion]]


@dataclass(frozen=True)
class Tools:
    """What a validator is given at its construction."""

    ask: Ask
    constraints: Sequence[Constraint]
    seed: int
    priority: int
    """The priority for its calls: the further down the pipeline, the sooner admitted."""


ValidatorFactory = Callable[..., Validator]

Row = dict[str, Any]
"""One line of a dataset, as a JSON object."""
