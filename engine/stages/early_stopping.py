"""Decides whether a run is worth continuing, from how many of the last items were accepted."""

from __future__ import annotations

from collections import Counter, deque

from engine.errors import NearlyAllRejected

ItemFate = tuple[str, str]
"""(validator, reason) of a rejection; two empty texts for an accepted item."""
ACCEPTED: ItemFate = ("", "")


class EarlyStopping:
    """Counts items in the order in which they are decided, so that the same run stops at the same place.

    Mutable state: the fates of the last items of this start.
    """

    def __init__(self, least: float, window: int) -> None:
        """Stops when less than the share `least` of the last `window` items is accepted; 0 never stops."""
        self._least = least
        self._last: deque[ItemFate] = deque(maxlen=window)
        self._accepted = 0

    def add(self, fate: ItemFate) -> NearlyAllRejected | None:
        """Counts one more item; returns the reason to stop once too few are accepted."""
        if not self._least:
            return None
        last = self._last
        if len(last) == last.maxlen:
            self._accepted -= last[0] == ACCEPTED
        last.append(fate)
        self._accepted += fate == ACCEPTED
        if len(last) < (last.maxlen or 0) or self._accepted >= self._least * len(last):
            return None
        reasons = Counter(fate for fate in last if fate != ACCEPTED).most_common(3)
        told = ", ".join(f"{by} {reason} {count:,}" for (by, reason), count in reasons)
        return NearlyAllRejected(
            f"of the last {len(last):,} items {self._accepted:,} were accepted ({told}); "
            f"see rejected.jsonl, mend the config, or set limits.least_acceptance lower and resume"
        )
