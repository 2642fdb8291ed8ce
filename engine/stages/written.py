"""An item as the journal keeps it: its record in the dataset's form, and how it was made and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from engine.answers.quotes import located_in
from engine.dataset.base import BaseDataset
from engine.dataset.examples import numbers_at
from engine.dataset.forms import Example
from engine.items import Item, Passage, Verdict, usd
from engine.prompts.rows import OWNER
from engine.schema.values import dumps
from engine.store.journal import storable, storable_values

SAID = 1000
"""Characters of a verdict's feedback that are stored."""


def written_of(item: Item, dataset: BaseDataset, rejection: Verdict | None) -> tuple[str, str]:
    """(record, meta) as JSON. `rejection` is the verdict that decided its fate, if one did."""
    return dumps(dataset.fields.rewritten(item)), _json(_meta(item, dataset.examples, rejection))


def _meta(item: Item, examples: Sequence[Example], rejection: Verdict | None) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "id": item.id,
        "batch": item.batch.number,
        "model": storable(item.model),
        "examples": numbers_at(examples, item.batch.examples),
        "attributes": dict(item.batch.attributes),
        "temperature": item.sent.get("temperature", item.batch.temperature),
        "verdicts": [_verdict(verdict) for verdict in item.verdicts],
        "revisions": item.revisions,
        "usage": {
            "prompt_tokens": item.usage.prompt_tokens,
            "completion_tokens": item.usage.completion_tokens,
        },
        "cost_usd": round(usd(item.usage.cost), 12),
    }
    for name, drawn in (("top_p", item.batch.top_p), ("top_k", item.batch.top_k)):
        if drawn is not None:
            meta[name] = item.sent.get(name, drawn)
    if item.usage.estimated:
        meta["usage"]["estimated"] = True
    if (agreement := _agreement(item)) is not None:
        meta["agreement"] = agreement
    if item.batch.given is not None:
        meta |= _of_samples(item)
    if item.batch.passages:
        meta["source"] = _source(item)
    if item.batch.unanswerable:
        meta["unanswerable"] = True
    if item.batch.strategy:
        meta["strategy"] = item.batch.strategy
    if item.batch.unlike:
        meta["replaces"] = len(item.batch.unlike)
    if item.batch.rows:
        meta["row"] = item.batch.rows[min(item.position, len(item.batch.rows) - 1)]
    if item.batch.dataset:
        meta["dataset"] = item.batch.dataset
    if isinstance(earlier := item.origin.get("_meta"), dict) and not item.batch.dataset:
        meta["before"] = {name: value for name, value in earlier.items() if name != "before"}
    if rejection is not None:
        meta["rejected_by"], meta["reason"] = rejection.by, storable(rejection.reason)
    return meta


def _source(item: Item) -> dict[str, Any] | list[dict[str, Any]]:
    """Where the item's evidence stands: characters of the document's text, with its pages; of several passages, a list.

    A quote that is not found is left out; then the place is the passage's own.
    """
    spans = located_in(item.quotes, item.batch.passages)
    told = [source_of(passage, span) for passage, span in zip(item.batch.passages, spans, strict=True)]
    return told[0] if len(told) == 1 else told


def source_of(passage: Passage, span: tuple[int, int] | None) -> dict[str, Any]:
    """`span`: characters of the passage that are the evidence."""
    start, end = span or (0, len(passage.text))
    told: dict[str, Any] = {"file": storable(passage.file), "passage": passage.number}
    if passage.page is not None:
        told |= {"page": passage.page_at(start), "page_end": passage.page_at(max(start, end - 1))}
    told |= {"start": passage.start + start, "end": passage.start + end, "heading": storable(passage.heading)}
    if span is not None:
        told["quote"] = storable(passage.text[start:end])
    return {**told, "sha256": passage.sha256}


def _of_samples(item: Item) -> dict[str, Any]:
    """How many answers its row had, and what became of them; why it is without any."""
    told = [verdict.record for verdict in item.verdicts if verdict.by == OWNER]
    found = {name: record[name] for record in told for name in ("samples", "null") if name in record}
    if item.asked:
        found["asked"] = [*item.asked, item.known_as] if item.known_as else list(item.asked)
    return found


def _agreement(item: Item) -> float | None:
    """The share of independent answers that gave the same, by the last validator that counted any."""
    counted = (verdict.record.get("agreement") for verdict in reversed(item.verdicts))
    return next((share for share in counted if isinstance(share, float)), None)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    shown = {"by": verdict.by, "verdict": verdict.decision.value, "seconds": verdict.seconds}
    if verdict.reason:
        shown["reason"] = storable(verdict.reason)
    if verdict.feedback:
        shown["feedback"] = storable(verdict.feedback[:SAID])
    if verdict.record:
        shown["record"] = storable_values(verdict.record)
    return shown


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
