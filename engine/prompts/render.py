"""Turns batches into prompts, with text templates that a config can replace."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from engine.config import RunConfig
from engine.constraints import Regex
from engine.dataset.base import BaseDataset
from engine.dataset.patterns import bounded
from engine.items import Batch, Prompt
from engine.prompts.form import form_of, stating
from engine.prompts.meanings import meanings
from engine.prompts.template import PromptTemplate, naming
from engine.schema.values import dumps

_REMEMBERED = 10_000
"""Examples that are kept as rendered."""
_LONGEST = 600
"""Characters of a text that is only mentioned in a prompt."""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


class ItemPrompts:
    """Renders the request for a batch of new items. Mutable state: the examples rendered so far."""

    def __init__(self, config: RunConfig, dataset: BaseDataset) -> None:
        """Raises ConfigError if the template is wrong, before anything is sent."""
        self._config = config
        self._dataset = dataset
        with naming(config, "generate.template"):
            self._template = PromptTemplate.load("items", config.generate.template)
        self._schema = lru_cache(maxsize=8)(self._schema_of)
        self._constant = {
            "description": config.dataset.description,
            "rules": [
                constraint.sentence()
                for constraint in config.dataset.constraints
                if not (isinstance(constraint, Regex) and bounded(constraint.pattern) is not None)
            ],  # a pattern that the schema holds says nothing to a model in words
            "fields": self._meanings(),
        }
        self._examples: dict[int, str] = {}

    def render(self, batch: Batch, *, tag: str = "", max_tokens: int | None = None) -> Prompt:
        """The request for a batch. One that asks otherwise than planned has a key of its own, with a tag."""
        limit = self._config.generate.completion_limit
        schema, form = self._schema(batch.size)
        system, user = self._template.render(
            {
                **self._constant,
                "size": batch.size,
                "labels": batch.labels,
                "attributes": batch.attributes,
                "unlike": [_one_line(text) for text in batch.unlike],
                "notes": batch.notes,
                "lessons": [_one_line(text) for text in batch.lessons],
                "examples": [self._example(index) for index in batch.examples],
                "form": form,
            }
        )
        return Prompt(
            key=f"{batch.number}/items/{tag}" if tag else f"{batch.number}/items",
            purpose="items",
            batch=batch.number,
            system=system,
            user=stating(form, user),
            schema=schema,
            temperature=batch.temperature,
            max_tokens=min(max_tokens or limit, limit),
            seed=batch.seed,
            owner="generate",
            size=batch.size,
            top_p=batch.top_p,
            top_k=batch.top_k,
        )

    def _example(self, index: int) -> str:
        text = self._examples.get(index)
        if text is None:
            fields = self._dataset.fields
            text = dumps(fields.wire(self._dataset.examples[index]))
            if len(self._examples) < _REMEMBERED:
                self._examples[index] = text
        return text

    def _item_schema(self) -> dict[str, Any]:
        return self._dataset.fields.item_schema(self._config.dataset.constraints)

    def _schema_of(self, size: int) -> tuple[dict[str, Any], str]:
        """The reply's schema, and its form for the prompt."""
        items = {"type": "array", "items": self._item_schema(), "minItems": size, "maxItems": size}
        schema = {
            "type": "object",
            "properties": {"items": items},
            "required": ["items"],
            "additionalProperties": False,
        }
        return schema, form_of(schema)

    def _meanings(self) -> dict[str, str]:
        return meanings(self._dataset.fields)
