"""Rejects items that repeat a row of the base dataset, or an accepted item, word for word."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

from engine.diversity.sameness import Comparable, text_key
from engine.items import Item, Verdict

REPEATS = "repeats"
"""The `rejected_by` of such items, and the reasons: of what they are copies."""
OF_BASE, OF_ITEM = "base_row", "item"
_RECENT = 4_096


class Texts:
    """A set of texts, folded as the group check folds them, in 8 bytes each: law 8 leaves no room for more.

    Two different texts are taken for the same with a chance below one in ten million for a million texts.
    Mutable state: the sorted digests, and those that are not sorted in yet.
    """

    def __init__(self, texts: Iterable[Comparable] = ()) -> None:
        self._sorted = array("Q", sorted({digest_of(text) for text in texts}))
        self._recent: set[int] = set()

    def add(self, text: Comparable) -> None:
        self.add_digest(digest_of(text))

    def add_digest(self, digest: int) -> None:
        self._recent.add(digest)
        if len(self._recent) >= max(_RECENT, len(self._sorted) // 8):
            self._sorted = array("Q", sorted([*self._sorted, *self._recent]))
            self._recent.clear()

    def __contains__(self, text: Comparable) -> bool:
        return self.has_digest(digest_of(text))

    def has_digest(self, digest: int) -> bool:
        if digest in self._recent:
            return True
        place = bisect_left(self._sorted, digest)
        return place < len(self._sorted) and self._sorted[place] == digest


def digest_of(text: Comparable) -> int:
    return int.from_bytes(text_key(text)[:8])


class Repeats:
    """For runs without a group check, which finds repeats itself. Mutable state: the accepted texts."""

    def __init__(self, base: Iterable[Comparable], accepted: Iterable[Comparable] = ()) -> None:
        """`accepted` are the items of earlier starts."""
        self._accepted = Texts(accepted)
        self._last: tuple[Item | None, int] = (None, 0)
        self._kinds = (
            (Texts(base), OF_BASE, "a row of the base dataset"),
            (self._accepted, OF_ITEM, "an item"),
        )

    def verdict(self, item: Item) -> Verdict | None:
        """The rejection of an item that repeats another; None for a new one."""
        digest = self._digest(item)
        for texts, reason, what in self._kinds:
            if texts.has_digest(digest):
                return Verdict.rejected(
                    REPEATS, reason, f"repeats {what} word for word (generate.allow_repeats)"
                )
        return None

    def accept(self, item: Item) -> None:
        self._accepted.add_digest(self._digest(item))

    def _digest(self, item: Item) -> int:
        """Of one item, twice in a row: it is asked about, then accepted."""
        if self._last[0] is not item:
            self._last = item, digest_of(item)
        return self._last[1]
