"""One way to ask a model, for validators and the engine alike: prompt, key, seed, parsing of the reply."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

from pydantic import ValidationError

from engine.errors import LEAST_ANSWER, ConfigError, ContextExceeded, FatalError, Unparseable
from engine.escaping import fenced, unfenced
from engine.items import Completion, Item, Prompt, Usage
from engine.prompts.form import form_of, stating
from engine.prompts.replies import beside_the_loop, objects_in
from engine.prompts.schema import reply_schema
from engine.prompts.template import PromptTemplate, built_in
from engine.protocols import Ask, M, Question, R


@dataclass(frozen=True)
class Asking:
    """Identifies a question among a run's calls, by attempt, from 1. The same key is never paid twice."""

    key: Callable[[int], str]
    batch: int
    item: str = ""
    seed: Callable[[int], int] | None = None
    """The seed of an attempt; by default derived from the run's seed and the key."""
    model: str = ""

    @classmethod
    def once(cls, key: str, batch: int, seed: int) -> Asking:
        """A question that is asked only once, whatever the reply."""
        return cls(lambda _: key, batch, seed=lambda _: seed)


@dataclass(frozen=True)
class Answered(Generic[R]):
    """The result of a question: `reply` is None if no attempt gave a reply that can be parsed."""

    reply: R | None
    completion: Completion
    """The completion of the last attempt."""
    usage: Usage
    """The usage of all attempts."""


class ModelAsker:
    """Asks for one owner: a validator, or a step of the engine.

    Mutable state: the purposes whose prompts have been rendered.
    """

    def __init__(
        self,
        ask: Ask,
        owner: str,
        seed: int,
        *,
        priority: int = 0,
        templates: Mapping[str, Path] | None = None,
        item_schema: Mapping[str, Any] | None = None,
        ceilings: Mapping[str, int] | None = None,
    ) -> None:
        """`priority` is that of all its calls; `templates` are the user's own, by purpose.

        `item_schema` is the schema of an item, for replies that hold one; `ceilings` are the longest answers by
        purpose, in tokens, where the config sets them.
        """
        self._ask = ask
        self._owner = owner
        self._seed = seed
        self._priority = priority
        self._templates = templates or {}
        self._item_schema = item_schema
        self._ceilings = ceilings or {}
        self._rendered: set[str] = set()

    def question(
        self,
        purpose: str,
        template: str,
        reply: type[M],
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        bounds: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Question[M]:
        """See the protocol of the same name."""
        schema, read = reply_schema(reply, self._item_schema, bounds), partial(object_as, reply)
        own = self._template(purpose, template)
        return Question(purpose, own, schema, read, temperature, max_tokens)

    def own_question(
        self,
        purpose: str,
        schema: Mapping[str, Any],
        read: Callable[[Completion], R | None],
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        attempts: int = 1,
    ) -> Question[R]:
        """A question of the engine, with its built-in template. Raises ConfigError as `question` does."""
        template = self._template(purpose, built_in(purpose))
        return Question(purpose, template, schema, read, temperature, max_tokens, attempts)

    def _template(self, purpose: str, source: str) -> PromptTemplate:
        return PromptTemplate.made(source, f"{purpose}.j2").replaced(self._templates.get(purpose))

    async def ask(
        self,
        question: Question[R],
        item: Item,
        shown: Mapping[str, Any],
        *,
        tag: str = "1",
        model: str = "",
        **values: Any,
    ) -> R:
        """See the protocol of the same name."""
        # Questions about a revised item have keys of their own.
        revision = f".{item.revisions}" if item.revisions else ""
        stem = f"{item.known_as or item.id}{revision}/{self._owner}/{question.purpose}/{tag}"
        call = Asking(
            lambda attempt: stem if attempt == 1 else f"{stem}.{attempt}",
            item.batch.number,
            item.id,
            model=model,
        )
        answered = await self.answered(question, call, shown, **values)
        if answered.reply is None:
            raise Unparseable(f"the reply to {question.purpose!r} is not the JSON object that was asked for")
        return answered.reply

    async def answered(
        self, question: Question[R], call: Asking, shown: Mapping[str, Any] | None = None, **values: Any
    ) -> Answered[R]:
        """Asks until a reply can be parsed, at most `question.attempts` times.

        Raises what a call raises, and FatalError if the first prompt of this purpose cannot be rendered.
        """
        given = {name: _harmless(value) for name, value in values.items()}
        if shown is not None:
            given["shown"] = fenced(shown)
        given["form"] = form_of(question.schema)
        system, user = self._render(question, given)
        usage, attempt, reply = Usage(), 0, None
        while reply is None and attempt < question.attempts:
            attempt += 1
            completion = await self._fitting(self._prompt(question, call, attempt, system, user))
            usage += completion.usage
            reply = await beside_the_loop(completion.text, partial(question.read, completion))
        return Answered(reply, completion, usage)

    async def _fitting(self, prompt: Prompt) -> Completion:
        """Asks for a shorter answer if prompt and answer together exceed the model's context."""
        try:
            return await self._ask(prompt)
        except ContextExceeded as error:
            room = error.room(prompt.max_tokens)
            if room < LEAST_ANSWER:
                raise
            return await self._ask(replace(prompt, max_tokens=room))

    def _render(self, question: Question[R], values: dict[str, Any]) -> tuple[str, str]:
        """A template that fails at once would fail for every item; one that has worked fails for this item."""
        try:
            rendered = question.template.render(values)
        except ConfigError as error:
            if question.purpose in self._rendered:
                raise
            raise FatalError(f"prompts.{question.purpose}: {error}") from None
        self._rendered.add(question.purpose)
        system, user = rendered
        return system, stating(values["form"], user)

    def _prompt(self, question: Question[R], call: Asking, attempt: int, system: str, user: str) -> Prompt:
        key = call.key(attempt)
        return Prompt(
            key=key,
            purpose=question.purpose,
            batch=call.batch,
            system=system,
            user=user,
            schema=question.schema,
            temperature=question.temperature,
            max_tokens=self._ceilings.get(question.purpose, question.max_tokens),
            seed=seed_of(self._seed, key) if call.seed is None else call.seed(attempt),
            priority=self._priority,
            model=call.model,
            owner=self._owner,
            item=call.item,
        )


def object_as(reply: type[M], completion: Completion) -> M | None:
    """The last JSON object in a completion that is a `reply`; None if there is none of that form."""
    for candidate in objects_in(completion.text):
        try:
            return reply.model_validate(candidate)
        except ValidationError:
            continue
    return None


def seed_of(seed: int, key: str) -> int:
    """A call's own seed of 31 bits, a size that every endpoint accepts."""
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


def _harmless(value: Any) -> Any:
    """The value without fences in its strings, at any depth: foreign text cannot open or close one."""
    if isinstance(value, str):
        return unfenced(value)
    if isinstance(value, Mapping):
        return {_harmless(key): _harmless(inner) for key, inner in value.items()}
    return [_harmless(inner) for inner in value] if isinstance(value, list | tuple) else value
