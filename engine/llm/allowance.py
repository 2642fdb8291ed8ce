"""How many tokens a model is allowed for reasoning, beside its answer: told, or learned from its replies."""

from __future__ import annotations

from engine.errors import EndpointError

IN_A_ROW = 5
"""Answers thought away, one after another, after which a purpose is allowed more."""
RAISES = 3
"""How often it is allowed more before the endpoint is given up."""
_GROWTH = 4
_LEAST = 1_024
_ROOM = 1.5
"""The allowance is this many times the most that was seen."""


class Allowance:
    """One endpoint's allowances, in tokens by purpose.

    A purpose that has not been answered yet begins with what the others have needed. Nothing is held back: what is
    not used is not paid.
    Mutable state: the most reasoning seen, in all and by purpose; what was thought away, and what was granted for it.
    """

    def __init__(self, told: int | None = None) -> None:
        self._told = told
        self._most = 0
        self._seen: dict[str, int] = {}
        self._granted: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._raised: dict[str, int] = {}

    def of(self, purpose: str) -> int:
        """Tokens that are added to the answer's."""
        learned = int(_ROOM * self._seen.get(purpose, self._most))
        return max(self._told if self._told is not None else learned, self._granted.get(purpose, 0))

    def answered(self, purpose: str, reasoning: int) -> None:
        """An answer came, after so many tokens of reasoning."""
        self._lost[purpose] = self._raised[purpose] = 0
        if reasoning:
            self._seen[purpose] = max(reasoning, self._seen.get(purpose, 0))
            self._most = max(reasoning, self._most)

    def thought_away(self, purpose: str, answer: int, allowed: int, said: str) -> str:
        """The answer's tokens and all that were allowed beside them went into reasoning.

        A call that was under way when more was granted says nothing about that: it is not counted.
        Returns what people should know, or ''. Raises EndpointError where being allowed more has not helped.
        """
        if allowed < self.of(purpose):
            return ""
        self._lost[purpose] = self._lost.get(purpose, 0) + 1
        if self._lost[purpose] < IN_A_ROW:
            return ""
        self._lost[purpose] = 0
        raised = self._raised[purpose] = self._raised.get(purpose, 0) + 1
        if raised > RAISES:
            raise EndpointError(
                f"{purpose}: {said}; raise generate.max_tokens (for other purposes, max_tokens.{purpose}) or "
                "model.reasoning.tokens, or lower model.reasoning.effort"
            )
        self._granted[purpose] = max(_LEAST, _GROWTH * (answer + allowed))
        return (
            f"{purpose}: {IN_A_ROW} answers in a row were thought away ({said}); {self._granted[purpose]:,} tokens "
            "are allowed for reasoning now"
        )
