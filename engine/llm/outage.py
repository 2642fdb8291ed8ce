"""Tracks how long an endpoint has been failing, and how long the run still waits for it."""

from __future__ import annotations

import math

FORGOTTEN_S = 1800.0
"""Two failures further apart than this, without a request between them, are two outages."""


class Outage:
    """Mutable state: the times of the first and last failure since an answer, and the last message."""

    def __init__(self, patience: float, first_patience: float) -> None:
        """The seconds an outage may last: `first_patience` until the first answer, then `patience`."""
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
        """Seconds since the first failure; 0.0 without an outage."""
        return now - self._since if self._since is not None else 0.0

    def hope(self, now: float, *, proven: bool) -> float:
        """Seconds left to wait for it; infinite without an outage. `proven`: whether it has ever answered."""
        if self._since is None:
            return math.inf
        return (self.patience if proven else self._first_patience) - self.lasted(now)
