"""Adds to each item the vector that the group check compares: from the journal, or computed and journaled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from engine.diversity.embedding import Embedding, kept, restored
from engine.diversity.sameness import compared
from engine.errors import PermanentError, TargetReached
from engine.flow.halt import Halt
from engine.items import Item, Verdict
from engine.stages.groupcheck import GroupCheck
from engine.store.journal import Journal

NAME = "embedding"
"""The `rejected_by` of items that have no vector."""


class Embed:
    """The stage's step. An item with the text of an accepted one is rejected before it costs a vector."""

    def __init__(self, embedding: Embedding | None, group: GroupCheck, journal: Journal, halt: Halt) -> None:
        """Without `embedding`, only texts are compared."""
        self._embedding = embedding
        self._group = group
        self._journal = journal
        self._halt = halt

    async def __call__(self, item: Item) -> Sequence[Item]:
        if item.settled or isinstance(self._halt.reason, TargetReached):
            return (item,)
        if (verdict := self._group.same_text(item)) is not None:
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
        held = self._journal.vector(item.number, digest)
        if held is not None:
            return item.evolve(vector=restored(held))
        vector = await embedding.one(text)
        self._journal.keep_vectors([(item.number, digest, kept(vector))])
        return item.evolve(vector=vector)
