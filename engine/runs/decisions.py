"""Takes what people have decided into a run: fates, contents and judgements, under the run's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from engine.config import RunConfig
from engine.runs.uniqueness import Uniqueness
from engine.store.folder import RunFolder, write_items
from engine.store.opinions import Opinion, Opinions, opened_opinions
from engine.store.pending import JUDGED, Pending, taken_over
from engine.store.reviews import Decision, ReviewDecision, Reviews, opened_reviews

_WORDS = frozenset((*JUDGED, "note"))
"""What is said of an item and leaves it as it is."""


def take_in(folder: RunFolder, notify: Callable[[str], None] = lambda _: None) -> int:
    """Takes the waiting decisions into the journal, and writes the items' files anew where an item has changed.

    The caller holds the run's lock. A kill at any moment loses none and doubles none: the file is emptied last, and
    each decision has a key. Returns their number. Raises StoreError, ConfigError.
    """
    if not folder.pending.exists() or not folder.database.is_file():
        return 0
    with taken_over(folder) as waiting:
        for said in _taken(folder, waiting):
            notify(said)
        if any(each.decision not in _WORDS for each in waiting):
            write_items(folder)
    return len(waiting)


def _taken(folder: RunFolder, waiting: Sequence[Pending]) -> Iterator[str]:
    config = RunConfig.load(folder.config, lenient=True)
    fields = folder.form(config.item_fields)
    unique = Uniqueness(folder.database, config, fields)

    def seen(record: Mapping[str, Any]) -> tuple[str, str]:
        example = fields.remembered(dict(record))
        return example.text, example.answer

    reviews: Reviews | None = None
    opinions: Opinions | None = None
    with ExitStack() as stack:
        for each in waiting:
            if each.decision in JUDGED:
                opinions = opinions or stack.enter_context(opened_opinions(folder.database))
                for item in each.items:
                    opinions.keep(Opinion(item, each.person, JUDGED[each.decision], each.scores))
                continue
            reviews = reviews or stack.enter_context(opened_reviews(folder.database))
            with reviews.together():
                for item in each.items:
                    objection = reviews.decide(_decision(each, item), seen, unique)
                    if objection:
                        yield f"A person's decision ({each.decision}) was not followed: {objection}."
            if each.decision != "accept":
                unique.forget()


def _decision(pending: Pending, item: int) -> Decision:
    kind: ReviewDecision = pending.decision  # type: ignore[assignment]
    return Decision(item, kind, pending.note, pending.person, pending.key, pending.at, pending.record)
