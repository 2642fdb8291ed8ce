"""How a validator asks a model about one item: one fenced block of JSON, one JSON object back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.errors import Unparseable
from engine.escaping import fenced, unfenced
from engine.items import Item, Prompt
from engine.protocols import Tools

TRIES = 2
"""Times that a question is asked when the reply cannot be read."""


class Reply(BaseModel):
    """What a model is asked to answer with. Keys that were not asked for are left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


R = TypeVar("R", bound=Reply)


@dataclass(frozen=True)
class Question(Generic[R]):
    """A kind of question. `purpose` is its name on the wire."""

    purpose: str
    system: str
    reply: type[R]
    temperature: float = 0.0
    max_tokens: int = 1024


class Asker:
    """Asks for one validator, by its name."""

    def __init__(self, name: str, tools: Tools) -> None:
        self._name = name
        self._tools = tools
        self._schemas: dict[str, dict[str, Any]] = {}

    async def ask(
        self, question: Question[R], item: Item, user: str, shown: Mapping[str, Any], tag: str = "1"
    ) -> R:
        """The reply to `user`, under which `shown` stands as the item's fenced block.

        `tag` tells calls of one purpose about one item apart. Raises Unparseable where the reply, and a second
        one, holds no such object; and what `Tools.ask` raises.
        """
        for attempt in range(TRIES):
            prompt = self._prompt(
                question, item, user, shown, tag if attempt == 0 else f"{tag}.{attempt + 1}"
            )
            found = self._tools.read((await self._tools.ask(prompt)).text)
            try:
                return question.reply.model_validate(found)
            except ValidationError:
                continue
        raise Unparseable(f"the reply to {question.purpose!r} is not the JSON object that was asked for")

    def _prompt(
        self, question: Question[R], item: Item, user: str, shown: Mapping[str, Any], tag: str
    ) -> Prompt:
        revision = (
            f".{item.revisions}" if item.revisions else ""
        )  # a revised item is another one to ask about
        key = f"{item.id}{revision}/{self._name}/{question.purpose}/{tag}"
        return Prompt(
            key=key,
            purpose=question.purpose,
            batch=item.batch.number,
            system=question.system,
            user=f"{unfenced(user)}\n\n{fenced(shown)}",
            schema=self._schema(question),
            temperature=question.temperature,
            max_tokens=question.max_tokens,
            seed=_seed(self._tools.seed, key),
            priority=self._tools.priority,
        )

    def _schema(self, question: Question[R]) -> Mapping[str, Any]:
        if question.purpose not in self._schemas:
            self._schemas[question.purpose] = question.reply.model_json_schema()
        return self._schemas[question.purpose]


def mark(*texts: str) -> str:
    """A short fingerprint, for the tag of a question whose text hangs on more than its item."""
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=4).hexdigest()


def _seed(seed: int, key: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1
