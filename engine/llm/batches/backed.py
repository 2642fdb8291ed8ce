"""The part that doors to the APIs of our own backends have in common: the same request as online, the same reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import BadRequest, ContextExceeded
from engine.items import Completion, Prompt
from engine.llm.backends.connection import NegotiatingBackend
from engine.llm.backends.terms import Terms
from engine.llm.batches.door import Request

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
