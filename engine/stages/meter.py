"""Counts the usage of the calls for an item's verdict, whichever task makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from engine.errors import PermanentError
from engine.items import Completion, Item, Prompt, Usage
from engine.protocols import Ask

_UNDER_WAY: ContextVar[str] = ContextVar("item", default="")
"""The item being judged in this context, for prompts that do not name their item."""


@dataclass
class Account:
    """The usage of one verdict's calls. Mutable until the verdict is reached."""

    usage: Usage = field(default_factory=Usage)
    model: str = ""
    """The model that answered last."""
    calls: int = 0


class Meter:
    """Assigns each call to the item that its prompt names, not to the task that makes it.

    A validator may make calls from tasks of its own, for many items together.
    Mutable state: the account of each item under way.
    """

    def __init__(self) -> None:
        self._open: dict[str, Account] = {}

    @contextmanager
    def account(self, item: Item) -> Iterator[Account]:
        """Counts the calls for the item while the block lasts."""
        account = self._open[item.id] = Account()
        token = _UNDER_WAY.set(item.id)
        try:
            yield account
        finally:
            _UNDER_WAY.reset(token)
            del self._open[item.id]

    def metered(self, ask: Ask, owner: str) -> Ask:
        """Wraps `ask` for one validator: each call carries its name, and is counted for its item."""

        async def asked(prompt: Prompt) -> Completion:
            item = prompt.item or _UNDER_WAY.get() or self._named_in(prompt.key)
            prompt = replace(prompt, owner=owner, item=item)
            try:
                completion = await ask(prompt)
            except PermanentError as error:
                if error.usage is not None:
                    self._add(item, error.usage, "")
                raise
            self._add(item, completion.usage, completion.model)
            return completion

        return asked

    def _named_in(self, key: str) -> str:
        """The item under way whose id a plugin's own key begins with; see Tools.ask for the form of keys."""
        return next((item for item in self._open if key.startswith((f"{item}/", f"{item}."))), "")

    def _add(self, item: str, usage: Usage, model: str) -> None:
        if (account := self._open.get(item)) is not None:
            account.usage += usage
            account.calls += 1
            account.model = model or account.model
