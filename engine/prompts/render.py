"""Batches into prompts, through text templates that a config can replace."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined, Template, TemplateError
from jinja2.runtime import Context

from engine.config import RunConfig
from engine.constraints import LabelIn, LabelRatio
from engine.dataset.base import BaseDataset
from engine.errors import ConfigError
from engine.items import Batch, Prompt

_MEANINGS = {
    "text": "the item's text",
    "choices": "the possible answers, in order",
}


class PromptTemplate:
    """A Jinja template with the blocks `system` and `user`.

    Values are data, never template text: what stands in a dataset row is not evaluated.
    """

    def __init__(self, source: str, name: str) -> None:
        """Raises ConfigError where the template is wrong."""
        self.name = name
        self._environment = environment = Environment(
            undefined=StrictUndefined, trim_blocks=False, autoescape=False
        )
        self._globals = dict(environment.globals)
        try:
            self._template: Template = environment.from_string(source)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise ConfigError(f"{name}{f' line {line}' if line else ''}: {error}") from None
        for block in ("system", "user"):
            if block not in self._template.blocks:
                raise ConfigError(f"{name}: has no block {block!r}")

    @classmethod
    def load(cls, purpose: str, replacement: Path | None = None) -> PromptTemplate:
        """The user's template, or the built-in one of that purpose. Raises ConfigError."""
        try:
            if replacement is not None:
                return cls(replacement.read_text("utf-8"), str(replacement))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"generate.template: {replacement} cannot be read: {error}") from None
        file = resources.files("engine.prompts") / "templates" / f"{purpose}.j2"
        return cls(file.read_text("utf-8"), f"{purpose}.j2")

    def render(self, values: dict[str, Any]) -> tuple[str, str]:
        """(system, user). Raises ConfigError for a variable that there is not."""
        # Not template.new_context: that walks the environment's globals anew for each prompt.
        context = Context(self._environment, {**self._globals, **values}, self.name, self._template.blocks)
        try:
            system, user = ("".join(self._template.blocks[block](context)) for block in ("system", "user"))
        except Exception as error:  # a template is a program of the user's: it may fail in any way
            raise ConfigError(f"{self.name}: {type(error).__name__}: {error}") from None
        return system.strip(), user.strip()


def _one_line(text: str, most: int = 600) -> str:
    return " ".join(text.split())[:most]


class ItemPrompts:
    """Renders the request for a batch of new items. Mutable state: the examples rendered so far."""

    def __init__(self, config: RunConfig, dataset: BaseDataset) -> None:
        """Raises ConfigError where the template is wrong; nothing has been sent then."""
        self._config = config
        self._dataset = dataset
        self._template = PromptTemplate.load("items", config.generate.template)
        self._schema = lru_cache(maxsize=8)(self._schema_of)
        schema = self._item_schema()
        self._constant = {
            "description": config.dataset.description,
            "rules": [constraint.sentence() for constraint in config.dataset.constraints],
            "fields": self._meanings(),
            "form": "{" + ", ".join(f'"{name}": ...' for name in schema["properties"]) + "}",
        }
        self._examples: dict[int, str] = {}

    def render(self, batch: Batch) -> Prompt:
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
            }
        )
        return Prompt(
            key=f"{batch.number}/items",
            purpose="items",
            batch=batch.number,
            system=system,
            user=user,
            schema=self._schema(batch.size),
            temperature=batch.temperature,
            max_tokens=self._config.generate.completion_limit,
            seed=batch.seed,
        )

    def _example(self, index: int) -> str:
        text = self._examples.get(index)
        if text is None:
            fields = self._dataset.fields
            text = orjson.dumps(fields.wire(self._dataset.examples[index]), default=str).decode()
            self._examples[index] = text
        return text

    def _item_schema(self) -> dict[str, Any]:
        return self._dataset.fields.item_schema(self._labels())

    def _schema_of(self, size: int) -> dict[str, Any]:
        items = {"type": "array", "items": self._item_schema(), "minItems": size, "maxItems": size}
        return {
            "type": "object",
            "properties": {"items": items},
            "required": ["items"],
            "additionalProperties": False,
        }

    def _labels(self) -> tuple[str, ...]:
        """The labels there are, where the constraints name them."""
        for constraint in self._config.dataset.constraints:
            if isinstance(constraint, LabelIn):
                return constraint.labels
            if isinstance(constraint, LabelRatio):
                return tuple(constraint.weights)
        return ()

    def _meanings(self) -> dict[str, str]:
        fields = self._config.dataset.fields
        shown = {"text": _MEANINGS["text"]}
        if fields.choices is not None:
            shown["choices"] = _MEANINGS["choices"]
        if fields.label is not None:
            letter = " (a letter: A is the first choice)" if fields.choices is not None else ""
            shown["label"] = f"the right answer or label{letter}"
        shown.update(dict.fromkeys(fields.extras, "as in the dataset"))
        return shown
