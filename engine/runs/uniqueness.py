"""Whether an item that a person accepts, or edits, would be a second of its kind: nobody's word goes against that."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import RunConfig
from engine.dataset.fields import Fields
from engine.diversity.sameness import compared, text_key
from engine.errors import EngineError
from engine.items import item_id
from engine.schema.values import loads
from engine.store.reading import connect, read_accepted, read_fact

if TYPE_CHECKING:
    from engine.diversity.duplicates import Duplicates
    from engine.protocols import Vectors


class Uniqueness:
    """The accepted items of a run, by what makes two of them the same. Read when it is first asked.

    Mutable state: what was read, and what has been let in since.
    """

    def __init__(self, database: Path, config: RunConfig, fields: Fields) -> None:
        self._database = database
        self._config = config
        self._fields = fields
        self._texts: dict[bytes, int] | None = None
        self._near: Duplicates | None = None

    def __call__(self, item: int, record: Mapping[str, Any]) -> str:
        """Why the item would be a second of its kind; '' where it would not. One without objection joins the others."""
        example = self._fields.remembered(dict(record))
        texts = self._read()
        key = text_key(example)
        if texts.get(key, item) != item:
            return f"its text is that of {item_id(texts[key])}"
        if self._near is not None and (said := self._too_near(item, example)):
            return said
        texts[key] = item
        return ""

    def forget(self) -> None:
        """Items have left, or changed: they are read again when somebody asks."""
        self._texts = self._near = None

    def _read(self) -> dict[bytes, int]:
        if self._texts is None:
            self._texts = {}
            with contextlib.closing(connect(self._database)) as connection:
                for item, record, _ in read_accepted(connection):
                    key = text_key(self._fields.remembered(loads(record)))
                    self._texts.setdefault(key, item)
                self._near = self._by_meaning(connection)
        return self._texts

    def _by_meaning(self, connection: sqlite3.Connection, but: int | None = None) -> Duplicates | None:
        """The vectors of the accepted items, where the run compares them; without those of one item."""
        policy = (read_fact(connection, "diversity") or {}).get("groupcheck")  # as the run has settled it
        if not policy or policy["same"] == "text":
            return None
        from engine.diversity.duplicates import Duplicates  # loads numpy, as the others
        from engine.diversity.embedding import restored

        near, without = Duplicates(policy["same"], policy["threshold"]), []
        for item, record, vector in read_accepted(connection):
            example = self._fields.remembered(loads(record))
            if item == but:
                continue
            if vector is not None:
                near.add_vectors([(item, example)], restored(vector)[None])
            else:  # accepted, or edited, by a person
                without.append((item, example))
        if without:
            with contextlib.suppress(EngineError, OSError):  # whoever asks is told so
                near.add_vectors(without, self._embedded([compared(example) for _, example in without]))
        return near

    def _too_near(self, item: int, example: Any) -> str:
        assert self._near is not None
        try:
            vectors = self._embedded([compared(example)])
        except (EngineError, OSError) as error:
            return f"it cannot be compared with the others ({error})"
        match = self._near.compare([example], vectors).outside.get(0)
        if match is not None and match.ref == item:  # as it was before it was edited
            with contextlib.closing(connect(self._database)) as connection:
                others = self._by_meaning(connection, but=item)
            match = others.compare([example], vectors).outside.get(0) if others is not None else None
        if match is not None:
            return f"it is too near to {item_id(int(match.ref))} (similarity {match.similarity:.3f})"
        self._near.add_vectors([(item, example)], vectors)
        return ""

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        """Shape [texts, dimensions]. Raises ConfigError where only a run can make it, EmbedderUnavailable."""
        from engine.analysis.vectors import Vectoriser

        async def embedded() -> Vectors:
            async with Vectoriser(self._config.embedding, lambda _: None) as vectoriser:
                return await vectoriser.embedding.all(texts)

        return asyncio.run(embedded())
