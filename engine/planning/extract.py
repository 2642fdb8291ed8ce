"""Asks a model for attribute values of the base dataset's examples before the run begins."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import RunConfig
from engine.dataset.base import BaseDataset
from engine.errors import EndpointError, PermanentError
from engine.items import SETUP_BATCH, Completion
from engine.prompts.ask import Asking, ModelAsker
from engine.prompts.replies import object_in
from engine.schema.values import dumps

PURPOSE = "attributes"
IN_ONE_CALL = 10
"""Examples in one call."""
_TOKENS = 64
"""The most completion tokens for one example."""
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "attributes": {
            "type": "array",
            "maxItems": IN_ONE_CALL,
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer"},
                    "keywords": {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1, "maxLength": 80},
                        "minItems": 1,
                        "maxItems": 5,
                    },
                },
                "required": ["index", "keywords"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["attributes"],
    "additionalProperties": False,
}


async def extracted(config: RunConfig, dataset: BaseDataset, asker: ModelAsker) -> dict[str, list[str]]:
    """Keywords of each attribute that the config extracts, with repetitions.

    The examples of a call that fails permanently are skipped. Raises EndpointError where the model names no
    keyword at all, FatalError or StopRun where a call raises them.
    """
    wanted = {
        name: spec.extract for name, spec in config.generate.attributes.items() if spec.extract is not None
    }
    keywords = {}
    for name, count in wanted.items():
        keywords[name] = await _keywords(config, dataset, asker, name, count)
        if not keywords[name]:
            raise EndpointError(
                f"generate.attributes.{name}: the model named no keyword for any of {count} examples; "
                "try another model, or give the values in the config"
            )
    return keywords


async def _keywords(
    config: RunConfig, dataset: BaseDataset, asker: ModelAsker, name: str, count: int
) -> list[str]:
    chance = random.Random(f"{config.seed}/attributes/{name}")
    rows = chance.sample(range(len(dataset.examples)), min(count, len(dataset.examples)))
    chunks = [rows[start : start + IN_ONE_CALL] for start in range(0, len(rows), IN_ONE_CALL)]
    wire = dataset.fields.wire

    async def asked(number: int, chunk: Sequence[int]) -> list[str]:
        question = asker.own_question(PURPOSE, _SCHEMA, _read, max_tokens=256 + _TOKENS * len(chunk))
        call = Asking.once(f"{PURPOSE}/{name}/{number}", SETUP_BATCH, config.seed % 2**31)
        examples = [dumps(wire(dataset.examples[row])) for row in chunk]
        description = config.dataset.description
        try:
            answered = await asker.answered(
                question, call, description=description, aspect=name, examples=examples
            )
        except PermanentError:
            return []
        return answered.reply or []

    # All calls in flight finish, and are journaled, before a failure is raised.
    asking = (asked(number, chunk) for number, chunk in enumerate(chunks))
    results = await asyncio.gather(*asking, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [keyword for result in results if isinstance(result, list) for keyword in result]


def _read(completion: Completion) -> list[str]:
    return keywords_in(completion.text)


def keywords_in(reply: str) -> list[str]:
    """All keywords of a reply, whatever else it contains."""
    entries = (object_in(reply, ("attributes",)) or {}).get("attributes")
    words: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        keywords = entry.get("keywords") if isinstance(entry, dict) else None
        named = keywords if isinstance(keywords, list) else ()
        words.extend(word for word in named if isinstance(word, str) and 0 < len(word.strip()) <= 80)
    return words
