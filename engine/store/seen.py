"""Which keys may have been seen: a Bloom filter of fixed size, so that what is new needs no look into a table."""

from __future__ import annotations

import hashlib

_BITS = 27
_HASHES = 4


class Seen:
    """16 MB at most, whatever is added; of 10 million keys, two in a thousand others seem to be among them.

    Bloom (1970). Mutable: the bits.
    """

    def __init__(self) -> None:
        self._bits = bytearray(1 << (_BITS - 3))

    def add(self, key: str) -> None:
        bits = self._bits
        for place in _places(key):
            bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: str) -> bool:
        bits = self._bits
        return all(bits[place >> 3] & (1 << (place & 7)) for place in _places(key))


def _places(key: str) -> list[int]:
    """Two halves of one digest give all places (Kirsch and Mitzenmacher, 2006)."""
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    one, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:]) | 1
    return [(one + number * step) & ((1 << _BITS) - 1) for number in range(_HASHES)]
