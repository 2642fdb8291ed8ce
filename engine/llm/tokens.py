"""How many tokens a call will use: a strict bound, and an estimate learned from the replies."""

from __future__ import annotations

from engine.items import Prompt, Usage

BYTES_A_TOKEN = 32
"""More than any tokenizer packs into a token on average over an answer: English has 4, a run of blanks up to 16."""
MESSAGE_OVERHEAD = 64
"""A generous bound on the tokens that chat formats add around two messages and a schema's name."""
FIRST_TOKENS_PER_CHARACTER = 0.30
"""The rate of English text, used before the first reply."""


def size_of(text: str) -> int:
    """Bytes of the text in UTF-8. Python knows of a text whether it is ASCII, so that most need not be encoded."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def prompt_bound(prompt: Prompt, schema_bytes: int) -> int:
    """An upper bound on the prompt's tokens: byte-level tokenizers never make more tokens than bytes."""
    return size_of(prompt.system) + size_of(prompt.user) + schema_bytes + MESSAGE_OVERHEAD


class TokenEstimator:
    """Estimates from the replies so far: the mean rate of prompts, the longest completion of each route.

    Mutable state: the sums, the longest completions.
    """

    def __init__(self) -> None:
        self._characters = 0
        self._tokens = 0
        self._longest: dict[str, int] = {}

    def prompt(self, prompt: Prompt) -> int:
        rate = self._tokens / self._characters if self._characters else FIRST_TOKENS_PER_CHARACTER
        return int((len(prompt.system) + len(prompt.user)) * rate) + 1

    def completion(self, prompt: Prompt) -> int:
        longest = self._longest.get(prompt.route)
        return prompt.max_tokens if longest is None else longest

    def whole(self, prompt: Prompt) -> int:
        return self.prompt(prompt) + self.completion(prompt)

    def likely(self, prompt: Prompt, bound: int) -> tuple[int, int]:
        """(prompt, answer) tokens that a call hardly exceeds: a quarter more than what answers have shown; `bound` is
        the prompt's own. Before the first answer of its route, all that was asked for.
        """
        longest = self._longest.get(prompt.route)
        if longest is None:
            return bound, prompt.max_tokens
        return min(bound, self.prompt(prompt) * 5 // 4), longest * 5 // 4

    def longest(self, route: str) -> int | None:
        """Tokens of the longest answer to a call of this route, with reasoning; None before the first."""
        return self._longest.get(route)

    def learn(self, route: str, characters: int, usage: Usage) -> None:
        """From the answer to a prompt of so many characters."""
        self._characters += characters
        self._tokens += usage.prompt_tokens
        self._longest[route] = max(usage.completion_tokens, self._longest.get(route, 0))
