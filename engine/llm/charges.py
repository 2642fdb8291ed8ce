"""What of a reply's own count of tokens can be believed: pure functions over what was sent and what came."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from engine.items import Usage
from engine.llm.prices import Price
from engine.llm.tokens import BYTES_A_TOKEN, size_of

WILD = 10
"""An endpoint whose counts are so many times what is possible is asked no more, once it has done so WILD_TIMES."""
WILD_TIMES = 3


class Possible(NamedTuple):
    """The most tokens that a call can have used."""

    prompt: int
    """One for each byte that was sent, and the chat format's own."""
    answer: int
    """The limit that was sent; one for each byte that came, if that is more."""


class Sizes(NamedTuple):
    """How many tokens a text has: at least, and by an upper estimate."""

    least: int
    upper: int

    @classmethod
    def of(cls, text: str) -> Sizes:
        return cls(least(text), upper(text))


class Believed(NamedTuple):
    """What is counted, and what was wrong with what was told."""

    usage: Usage
    said: str
    """'' where nothing was."""
    wild: bool = False
    """Whether it was far from what is possible."""


def possible(prompt_bound: int, limit: int, came: str) -> Possible:
    """`limit` is the longest answer that was asked for, with reasoning."""
    return Possible(prompt_bound, max(limit, size_of(came)))


def believed(told: Usage, most: Possible, sent: str | Sizes, came: str) -> Believed:
    """At most what is possible; an upper estimate where nothing was told, or nothing that can be.

    `sent` is the prompt's text, or its sizes; `came` is all that the model wrote.
    """
    fewest = least(sent) if isinstance(sent, str) else sent.least
    too_few = told.prompt_tokens < fewest or told.completion_tokens < least(came)
    if told.estimated or too_few:
        likely = upper(sent) if isinstance(sent, str) else sent.upper
        guessed = Usage(min(most.prompt, likely), upper(came), estimated=True, tier=told.tier)
        said = "" if told.estimated else f"{told.prompt_tokens:,} + {told.completion_tokens:,} tokens"
        return Believed(guessed, said)
    beside = told.reasoning_tokens  # xAI's come beside the limit that was sent
    aside = beside if 0 < beside <= told.completion_tokens <= WILD * most.answer else 0
    if told.prompt_tokens <= most.prompt and told.completion_tokens <= most.answer + aside:
        return Believed(told, "")
    bounded = replace(
        told,
        prompt_tokens=min(told.prompt_tokens, most.prompt),
        completion_tokens=min(told.completion_tokens, most.answer),
        cached_tokens=min(told.cached_tokens, most.prompt),
        written_tokens=min(told.written_tokens, most.prompt - min(told.cached_tokens, most.prompt)),
        reasoning_tokens=min(told.reasoning_tokens, most.answer),
        estimated=True,
    )
    wild = told.prompt_tokens > WILD * most.prompt or told.completion_tokens > WILD * most.answer
    said = (
        f"{told.prompt_tokens:,} + {told.completion_tokens:,} tokens where {most.prompt:,} + {most.answer:,} are "
        "possible"
    )
    return Believed(bounded, said, wild)


def least(text: str) -> int:
    """The fewest tokens that a text can have; 0 for blanks alone."""
    return -(-size_of(text) // BYTES_A_TOKEN) if text and not text.isspace() else 0


def upper(text: str) -> int:
    """An upper estimate of a text's tokens: two bytes each where it is ASCII, one and a half elsewhere.

    English has four to a token, digits and code two to three, Chinese three bytes to one or two (the tokenizers
    of OpenAI, Llama and Qwen).
    """
    size = size_of(text)
    plain = sum(map(str.isascii, text)) if not text.isascii() else size
    return plain // 2 + (size - plain) * 2 // 3 + 1


def cost_of(usage: Usage, price: Price, most: Possible) -> int:
    """Picodollars: the bill that the reply states, but at most what the possible tokens cost."""
    if usage.billed is not None:
        return min(usage.billed, price.worst(most.prompt, most.answer)) if usage.estimated else usage.billed
    return price.cost(
        usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.written_tokens, usage.tier
    )
