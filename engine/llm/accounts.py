"""Counts what replies have used, as far as it can be believed: of single calls and of batches."""

from __future__ import annotations

from typing import NamedTuple

from engine.items import Prompt, Usage
from engine.llm.call import CallCounts
from engine.llm.charges import Sizes, believed, cost_of, possible
from engine.llm.endpoint import Endpoint
from engine.llm.prices import Price
from engine.llm.tokens import TokenEstimator


class Sent(NamedTuple):
    """A request as its bill depends on it."""

    route: str
    characters: int
    """Of the prompt's texts."""
    bound: int
    """The most tokens that the prompt can have."""
    limit: int
    """The longest answer that was asked for, in tokens, with reasoning."""
    text: str | Sizes
    """The prompt's texts, or how many tokens they have."""

    @classmethod
    def of(cls, prompt: Prompt, bound: int, limit: int) -> Sent:
        text = prompt.system + prompt.user
        return cls(prompt.route, len(text), bound, limit, text)


class Accounts:
    """Mutable state: the counts of this start, what is known of tokens."""

    def __init__(self, tokens: TokenEstimator, counts: CallCounts) -> None:
        self.tokens = tokens
        self.counts = counts

    def counted(
        self,
        sent: Sent,
        endpoint: Endpoint,
        reported: Usage,
        text: str,
        reasoning: str = "",
        *,
        price: Price | None = None,
    ) -> Usage:
        """The usage of an answer in tokens and picodollars; see charges. `price`: another than the endpoint's."""
        came = text + reasoning if sent.limit else ""  # a vector is no text: its tokens are the prompt's
        most = possible(sent.bound, sent.limit, came)
        told = believed(reported, most, sent.text, came)
        usage = told.usage
        if told.said:
            endpoint.doubt(told.said, wild=told.wild)
        elif not usage.estimated:
            self.tokens.learn(sent.route, sent.characters, usage)
        endpoint.check_length(usage.completion_tokens, sent.limit)
        if price is None:
            endpoint.check_bill(reported)
        self.counts.prompt_tokens += usage.prompt_tokens
        self.counts.completion_tokens += usage.completion_tokens
        thought = usage.reasoning_tokens
        if not thought and reasoning:  # told in words alone: by their share of what was written
            thought = usage.completion_tokens * len(reasoning) // len(came)
        cost = cost_of(usage, price or endpoint.price, most)
        return Usage(
            usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, cost, usage.estimated,
            usage.written_tokens, thought, None, usage.tier, usage.unread,
        )  # fmt: skip
