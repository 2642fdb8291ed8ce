"""Tags that distinguish the calls of one purpose about one item."""

from __future__ import annotations

import hashlib


def mark(*texts: str) -> str:
    """A short fingerprint for the tag of a question whose text depends on more than its item."""
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=4).hexdigest()
