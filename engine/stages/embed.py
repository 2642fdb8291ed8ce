"""Adds to each item the vector that the group check compares: from the journal, or computed and journaled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from engine.diversity.embedding import Embedding, kept, restored
from engine.diversity.sameness import compared, text_key
from engine.errors import PermanentError, TargetReached
from engine.flow.halt import Halt
from engine.items import Item, Verdict

NAME = "embedding"
"""The `rejected_by` of items that have no vector."""


class KeptVectors(Protocol):
    """Where the vectors of items are kept: the journal, or what a worker was sent of it."""

    def vector(self, item: int, text: bytes) -> bytes | None:
        """The vector that earlier starts stored for this item, if it was computed from the text of this digest."""
        ...

    def keep_vectors(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Stores (item, digest of its text, vector) rows."""
        ...


class Embed:
    """The stage's step. An item with the text of an accepted one is rejected before it costs a vector.

    Every item leaves with the key of its text, which is computed here and nowhere later.
    """

    def __init__(
        self,
        embedding: Embedding | None,
        vectors: KeptVectors,
        halt: Halt,
        same_text: Callable[[Item], Verdict | None] = lambda _: None,
    ) -> None:
        """Without `embedding`, only texts are compared. `same_text` finds an accepted item with the same text."""
        self._embedding = embedding
        self._vectors = vectors
        self._halt = halt
        self._same_text = same_text

    async def __call__(self, item: Item) -> Sequence[Item]:
        if item.settled or isinstance(self._halt.reason, TargetReached):
            return (item,)
        item = item.evolve(text_key=text_key(item))
        if (verdict := self._same_text(item)) is not None:
            return (item.judged(verdict),)
        if self._embedding is None:
            return (item,)
        try:
            return (await self._with_vector(item, self._embedding),)
        except PermanentError as error:
            return (item.judged(Verdict.rejected(NAME, error.reason, str(error))),)

    async def _with_vector(self, item: Item, embedding: Embedding) -> Item:
        text = compared(item)
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        held = self._vectors.vector(item.number, digest)
        if held is not None:
            return item.evolve(vector=restored(held))
        vector = await embedding.one(text)
        self._vectors.keep_vectors([(item.number, digest, kept(vector))])
        return item.evolve(vector=vector)
