"""The part that doors to the APIs of our own backends have in common: the same request as online, the same reading."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.errors import BadRequest, ContextExceeded, EndpointError
from engine.items import Completion, Prompt
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.backends.terms import Terms
from engine.llm.batches.door import Request, Told

_LONG = 1 << 30


class Backed:
    """Requests and replies by a backend, on the terms that it has negotiated so far.

    Mutable state: the terms, with the backend; one prompt of each purpose, to see what a change of terms changes.
    """

    def __init__(self, backend: NegotiatingBackend) -> None:
        self._backend = backend
        self._samples: dict[str, Prompt] = {}
        self.name = backend.name

    def request(self, prompt: Prompt) -> Request:
        """The body of the call online, but never streamed."""
        self._samples[prompt.purpose] = prompt
        terms = replace(self._backend.negotiations.of(prompt.purpose).terms, streamed=False)
        most = prompt.max_tokens if terms.most_tokens is None else min(prompt.max_tokens, terms.most_tokens)
        return Request(self._backend.fields(prompt, terms), most, self._backend.otherwise(prompt, terms))

    def read(self, body: bytes) -> Completion:
        return self._backend.read(body)

    def settled(self, purpose: str) -> bool:
        return self._backend.settled(purpose)

    def terms(self, purpose: str) -> Mapping[str, Any]:
        return self._backend.negotiations.of(purpose).terms.as_dict()

    def answered(self, purpose: str, terms: Mapping[str, Any]) -> None:
        negotiation = self._backend.negotiations.of(purpose)
        if not negotiation.settled:  # an earlier start may have found them out, and sent the batch
            negotiation.terms = Terms.from_dict(terms)
            self._backend.settle(purpose, negotiation.terms)

    def refused(self, purpose: str, refusal: BadRequest, terms: Mapping[str, Any]) -> bool:
        """As after the same refusal online."""
        sample, negotiation = self._samples.get(purpose), self._backend.negotiations.of(purpose)
        sent = Terms.from_dict(terms)
        if not negotiation.settled and negotiation.terms == negotiation.first:
            negotiation.terms = sent
        elif negotiation.terms != sent:
            return True  # it is asked otherwise already
        before = self._backend.fields(sample, negotiation.terms) if sample is not None else {}
        try:
            while negotiation.refused(refusal, sample.max_tokens if sample is not None else _LONG):
                # Of a batch that an earlier start has sent there is no sample: any change counts.
                if sample is None or self._backend.fields(sample, negotiation.terms) != before:
                    return True
        except ContextExceeded:
            pass
        return False


class Listed(Backed):
    """A Door to an API that lists an account's batches, newest first: one question for all of them."""

    def _listed(self) -> AsyncIterator[Told]:
        """The account's batches, as far back as is read."""
        raise NotImplementedError

    async def _one(self, id: str) -> Told:
        """One batch. Raises EndpointError or BadRequest where there is none."""
        raise NotImplementedError

    async def made(self, since: float) -> Sequence[Told]:
        found: list[Told] = []
        async for each in self._listed():
            if each.created is not None and each.created < since:
                break
            found.append(each)
        return found

    async def poll(self, ids: Sequence[str]) -> Mapping[str, Told]:
        wanted, found = set(ids), dict[str, Told]()
        async for each in self._listed():
            if each.id in wanted:
                found[each.id] = each
            if len(found) == len(wanted):
                break
        for id in wanted - found.keys():  # further back than the list was read, or gone
            with contextlib.suppress(EndpointError, BadRequest):
                found[id] = await self._one(id)
        return found
