"""Turns batches into prompts, with text templates that a config can replace."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from engine.config import RunConfig
from engine.constraints import Regex
from engine.dataset.base import BaseDataset
from engine.dataset.item_schema import closed_object
from engine.dataset.patterns import bounded
from engine.errors import ConfigError
from engine.escaping import unfenced
from engine.items import Batch, Passage, Prompt
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


QUOTE, QUOTES = "quote", "quotes"
"""The names under which an item's evidence comes: of one passage, of several."""


def _template(config: RunConfig) -> PromptTemplate:
    """Raises ConfigError if it is wrong, or if no model would see the passages."""
    built_in = "items" if config.documents is None else "passages"
    template = PromptTemplate.load(built_in, config.generate.template)
    if config.documents is not None and "passages" not in template.variables:
        raise ConfigError(
            f"{template.name}: must show the passages: {{% for passage in passages %}}{{{{ passage.text }}}}"
            "{% endfor %}"
        )
    return template


def _shown(number: int, passage: Passage) -> dict[str, Any]:
    place = " > ".join(filter(None, (passage.file, passage.heading)))
    return {"number": number, "from": _one_line(unfenced(place)), "text": unfenced(passage.text)}


class ItemPrompts:
    """Renders the request for a batch of new items. Mutable state: the examples rendered so far."""

    def __init__(self, config: RunConfig, dataset: BaseDataset) -> None:
        """Raises ConfigError if the template is wrong, before anything is sent."""
        self._config = config
        self._dataset = dataset
        with naming(config, "generate.template"):
            self._template = _template(config)
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
        if config.documents is not None:
            self._constant["no_answer"] = config.documents.no_answer
        self._examples: dict[int, str] = {}

    def render(self, batch: Batch, *, tag: str = "", max_tokens: int | None = None) -> Prompt:
        """The request for a batch. One that asks otherwise than planned has a key of its own, with a tag."""
        limit = self._config.generate.completion_limit
        evidence = 0 if batch.unanswerable else len(batch.passages)
        schema, form = self._schema(batch.size, evidence)
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
                **self._of_documents(batch),
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

    def _of_documents(self, batch: Batch) -> dict[str, Any]:
        """The passages, as data whose end they cannot feign."""
        if self._config.documents is None:
            return {}
        passages = [_shown(number, passage) for number, passage in enumerate(batch.passages, 1)]
        return {"passages": passages, "unanswerable": batch.unanswerable}

    def _item_schema(self, evidence: int) -> dict[str, Any]:
        """`evidence`: from how many passages the item quotes; what it rests on is written before it."""
        schema = self._dataset.fields.item_schema(self._config.dataset.constraints)
        quote = {"type": "string", "minLength": 1}
        if evidence > 1:
            quotes = {"type": "array", "items": quote, "minItems": evidence, "maxItems": evidence}
            return closed_object({QUOTES: quotes, **schema["properties"]})
        return closed_object({QUOTE: quote, **schema["properties"]}) if evidence else schema

    def _schema_of(self, size: int, evidence: int) -> tuple[dict[str, Any], str]:
        """The reply's schema, and its form for the prompt."""
        items = {"type": "array", "items": self._item_schema(evidence), "minItems": size, "maxItems": size}
        schema = {
            "type": "object",
            "properties": {"items": items},
            "required": ["items"],
            "additionalProperties": False,
        }
        return schema, form_of(schema)

    def _meanings(self) -> dict[str, str]:
        return meanings(self._dataset.fields)
