"""Since when an endpoint fails, and for how long it is waited for."""

from __future__ import annotations

import math

FORGOTTEN_S = 1800.0
"""Two failures so far apart, with nobody asking between, are two troubles."""


class Outage:
    """Mutable state: the first and the last failure since an answer, and what the last one said."""

    def __init__(self, patience: float, first_patience: float) -> None:
        """Seconds that it may last: `patience` once the endpoint has answered, `first_patience` before."""
        self.patience = patience
        self.said = ""
        self._first_patience = first_patience
        self._since: float | None = None
        self._last = 0.0

    def failed(self, now: float, said: str) -> None:
        if self._since is None or now - self._last > FORGOTTEN_S:
            self._since = now
        self._last, self.said = now, said

    def over(self) -> None:
        self._since = None

    def lasted(self, now: float) -> float:
        """Seconds."""
        return now - self._since if self._since is not None else 0.0

    def hope(self, now: float, *, proven: bool) -> float:
        """Seconds left to wait for it; infinite where it does not fail. `proven`: whether it has ever answered."""
        if self._since is None:
            return math.inf
        return (self.patience if proven else self._first_patience) - self.lasted(now)
