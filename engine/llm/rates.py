"""What one call takes of a rate of requests and a rate of tokens: both, or nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.protocols import Rate


class Taken(NamedTuple):
    """What was taken, and from which rates: these may be others by the time that it is given back."""

    requests: Rate | None = None
    request: Any = None
    tokens: Rate | None = None
    token: Any = None
    amount: int = 0

    def give_back(self, requests: int, tokens: int) -> None:
        """Correct it to what was really used: 1 or 0 requests, so many tokens."""
        if self.requests is not None and not requests:
            self.requests.give_back(self.request, 1, 0)
        if self.tokens is not None:
            self.tokens.give_back(self.token, self.amount, tokens)


NOTHING = Taken()


def take_both(requests: Rate | None, tokens: Rate | None, amount: int) -> Taken | None:
    """None where either has no room any more; both have been seen to have it."""
    if requests is None and tokens is None:
        return NOTHING
    request = requests.take(1) if requests is not None else None
    if requests is not None and request is None:
        return None
    token = tokens.take(amount) if tokens is not None else None
    if tokens is not None and token is None:
        if requests is not None:
            requests.give_back(request, 1, 0)
        return None
    return Taken(requests, request, tokens, token, amount)
