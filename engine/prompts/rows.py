"""The request for the new columns of one row, step by step; and what its reply says, in the types of the columns."""

from __future__ import annotations

import difflib
import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from engine.config import RunConfig
from engine.config.mapping import MadeColumn, MapConfig, StepConfig
from engine.dataset.forms import FieldProblem
from engine.dataset.item_schema import closed_object
from engine.errors import ConfigError
from engine.escaping import fenced, unfenced
from engine.items import SHARED, Batch, Completion, Prompt
from engine.prompts.ask import seed_of
from engine.prompts.form import form_of, stating
from engine.prompts.replies import items_in, object_in
from engine.prompts.template import ALWAYS, PromptTemplate, naming
from engine.protocols import Row
from engine.schema.columns import Column
from engine.schema.types import type_of
from engine.schema.values import dumps

_MARK = "\x00"
"""Stands for what a row says where the rest of a prompt is rendered once for all."""
_TOKENS = {"string": 40, "array": 40, "object": 60}
"""Of a value, by the kind of its column's type; of any other, 4."""
OWNER = "map"
"""By whom the calls for rows are made, and rows rejected whose replies are none."""
ROWS = "rows"
"""The name in a reply of several rows for one."""
ALL, BY_NAME = "row", "columns"
"""The names, in a step's prompt, of all columns: as a fenced block, and by name."""


class RowPrompts:
    """The prompts of all steps."""

    def __init__(self, config: RunConfig, there: Sequence[str], examples: Sequence[Row] = ()) -> None:
        """`there` are the columns of the data. Raises ConfigError where a prompt speaks of a column that is not."""
        assert config.map is not None
        self._config = config
        self.spec = config.map
        self._examples = examples if config.map.few_shot else ()
        known = list(there)
        self.steps = []
        for place, step in enumerate(self.spec.chain):
            count = self.spec.fan_out if place == len(self.spec.chain) - 1 else 1
            where = f"map.steps.{place}" if self.spec.steps else "map"
            self.steps.append(Step(config, step, known, count, where))
            known += step.made

    def prompt(self, batch: Batch, step: Step, row: Row, sample: int, stem: str, attempt: int = 1) -> Prompt:
        """The request of one step for a row, for one of its samples; `stem` names the row among the run's calls."""
        system, user = step.rendered(row, self.examples_shown(step, stem))
        key = f"{stem or SHARED + digest(system, user)}/{step.purpose}/{sample}{f'.{attempt}' if attempt > 1 else ''}"
        return Prompt(
            key=key,
            purpose=step.purpose,
            batch=batch.number,
            system=system,
            user=user,
            schema=step.schema,
            temperature=self.temperature(step, sample),
            max_tokens=self._config.max_tokens.get(step.purpose, step.spec.max_tokens),
            seed=seed_of(self._config.seed, key),
            owner=OWNER,
        )

    def temperature(self, step: Step, sample: int) -> float:
        """Where the config sets none: 0 for the only answer of a row, 1 where there are several, or a further one."""
        usual = 0.0 if sample == 0 and self.spec.samples == 1 else 1.0
        return usual if step.spec.temperature is None else step.spec.temperature

    def examples_shown(self, step: Step, stem: str) -> Sequence[tuple[str, str]]:
        """The examples of a prompt: the same for all rows where equal rows are asked once, else drawn for each."""
        if not self._examples:
            return ()
        drawn = random.Random(f"{self._config.seed}/examples/{stem}")
        rows = drawn.sample(self._examples, min(self.spec.few_shot, len(self._examples)))
        return [(step.asked(row), step.given(row)) for row in rows]


class Step:
    """One step: its templates, the form of its replies."""

    def __init__(
        self, config: RunConfig, spec: StepConfig, there: Sequence[str], count: int, where: str
    ) -> None:
        """`count` rows are asked for; `where` the step stands in the config. Raises ConfigError."""
        self.spec = spec
        self.where = where
        self.purpose = spec.purpose
        self.count = count
        self._description = config.dataset.description
        with naming(config, f"{where}.prompt"):
            source = f"{{% block system %}}{spec.system}{{% endblock %}}{{% block user %}}{spec.prompt}{{% endblock %}}"
            self._own = PromptTemplate(source, "the prompt")
            check_columns(self._own, there)
        with naming(config, f"prompts.{self.purpose}"):
            self._around = PromptTemplate.load("map").replaced(config.prompts.get(self.purpose))
        self._is_own = self.purpose in config.prompts
        self._parts: dict[bool, list[tuple[str, str, str]]] = {}
        self._there = tuple(there)
        own = self._own.variables
        self._held = self._there if BY_NAME in own else tuple(name for name in there if name in own)
        self.used = tuple(name for name in there if self._speaks_of(name))
        self.columns = {name: column_of(each) for name, each in spec.columns.items()}
        self._texts = {
            name for name, column in self.columns.items() if column.type.name == "string" and not column.enum
        }
        one = closed_object({name: _schema(column) for name, column in self.columns.items()})
        several = {"type": "array", "items": one, "minItems": count, "maxItems": count}
        self.schema = one if count == 1 else closed_object({ROWS: several})
        self._form = form_of(self.schema)
        self._fields = {
            name: said for name, column in self.columns.items() if (said := _meaning(column)) is not None
        }

    def _speaks_of(self, name: str) -> bool:
        own = self._own.variables
        return (
            name in own or ALL in own or (BY_NAME in own and name in f"{self.spec.prompt} {self.spec.system}")
        )

    def asked(self, row: Row) -> str:
        """The step's own prompt over a row. Raises ConfigError where it cannot be rendered."""
        return self._own.render(self._values(row))[1]

    def given(self, row: Row) -> str:
        """What a row that is done would have been answered with."""
        return dumps({name: row.get(name) for name in self.columns})

    def rendered(self, row: Row, examples: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """(system, user). Raises ConfigError."""
        system, asked = self._own.render(self._values(row))
        if self._is_own or examples:
            return self._whole(system, asked, examples)
        parts = self._parts.get(bool(system))
        if parts is None:  # all that does not depend on the row, rendered once
            marked = self._whole(_MARK if system else "", _MARK, ())
            parts = self._parts[bool(system)] = [each.partition(_MARK) for each in marked]
        (first, _, second), (third, _, fourth) = parts
        return f"{first}{system}{second}", f"{third}{asked}{fourth}"

    def _whole(self, system: str, asked: str, examples: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """The prompt with what the step itself says in it."""
        values = {
            "system": system,
            "asked": asked,
            "description": self._description,
            "fields": self._fields,
            "examples": examples,
            "count": self.count,
            "form": self._form,
        }
        whole, user = self._around.render(values)
        return whole, stating(self._form, user)

    @property
    def likely_tokens(self) -> int:
        """Of an answer, stated by the types of its columns; what texts are really like, only a start shows."""
        each = 8 + sum(_TOKENS.get(column.type.kind, 4) + 4 for column in self.columns.values())
        return min(self.count * each, self.spec.max_tokens)

    def is_empty(self, row: Row) -> bool:
        """Whether the row holds nothing of what its prompt speaks of."""
        return bool(self.used) and all(_is_nothing(row.get(name)) for name in self.used)

    def _values(self, row: Row) -> dict[str, Any]:
        held = {name: _shown(row.get(name)) for name in self._held}
        values = {name: value for name, value in held.items() if name.isidentifier()}
        if BY_NAME in self._own.variables:
            values[BY_NAME] = held
        if ALL in self._own.variables:
            values[ALL] = fenced({name: row[name] for name in self._there if row.get(name) is not None})
        return values

    def read(self, completion: Completion) -> list[Row]:
        """The new columns: of one row, or of several. Raises FieldProblem where the reply is not what was asked for."""
        if self.count == 1:
            found = object_in(completion.text, list(self.columns)) or object_in(completion.text)
            replies = [found] if found is not None else []
        else:
            replies = list(items_in(completion.text, self.count, tuple(self.columns)))[: self.count]
        if not replies:
            cut = completion.finish_reason == "length"
            raise FieldProblem("truncated" if cut else "unparseable", completion.text[:200])
        return [self._row(reply, completion) for reply in replies]

    def _row(self, reply: Mapping[str, Any], completion: Completion) -> Row:
        made: Row = {}
        for name, column in self.columns.items():
            value = reply.get(name)
            if value.__class__ is str and value and name in self._texts:
                made[name] = value
                continue
            value = coerced(value, column)
            if (complaint := column.complaint(value)) is not None:
                raise FieldProblem("wrong_value", f"{name}: {complaint}")
            if value == "" and not column.nullable:
                raise FieldProblem("empty_value", f"{name}: is empty")
            made[name] = value
        if self.spec.reasoning is not None:
            made[self.spec.reasoning] = completion.reasoning or None
        return made


def _is_nothing(value: Any) -> bool:
    return value in (None, [], {}) or (isinstance(value, str) and not value.strip())


def digest(*texts: str) -> str:
    """Names a row by what is asked about it: the same for rows of which the same is asked."""
    return hashlib.blake2b(orjson.dumps(texts), digest_size=12).hexdigest()


def column_of(spec: MadeColumn) -> Column:
    """A column of replies; a text where the config names no type and no values."""
    read = spec.column(Column(type_of(spec.enum[0]) if spec.enum else type_of("")))
    return replace(read, nullable=spec.nullable)


def _schema(column: Column) -> dict[str, Any]:
    schema = column.json_schema()
    if column.nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _meaning(column: Column) -> str | None:
    if column.least is not None or column.most is not None:
        low, high = (f"{each:g}" if each is not None else "" for each in (column.least, column.most))
        bounds = f"from {low} to {high}" if low and high else f"{low} or more" if low else f"at most {high}"
        return f"{column.description}, {bounds}" if column.description else bounds
    return column.description or None


def coerced(value: Any, column: Column) -> Any:
    """The value in the column's type, where a model has written a number or a truth as a text, or the reverse."""
    kind = column.type.kind
    if isinstance(value, str) and kind == "string":
        text = value.strip() if column.enum else value
        folded = {str(each).casefold(): each for each in column.enum}
        return folded.get(text.casefold(), text)
    if (
        isinstance(value, str)
        and kind in ("integer", "number")
        and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value)
    ):
        number = float(value)
        return int(number) if number.is_integer() and (kind == "integer" or "." not in value) else number
    if isinstance(value, float) and kind == "integer" and value.is_integer():
        return int(value)
    if isinstance(value, str) and kind == "boolean":
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().casefold(), value)
    if isinstance(value, int | float) and kind == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def _shown(value: Any) -> Any:
    """A row's value as a prompt may show it: nothing for null, and no fence that it could open or close."""
    if value is None:
        return ""
    if isinstance(value, str):
        return unfenced(value)
    if isinstance(value, Mapping):
        return {unfenced(str(key)): _shown(inner) for key, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, list | tuple) else value


def check_columns(template: PromptTemplate, there: Sequence[str]) -> None:
    """Raises ConfigError where the prompt speaks of a column that no row has."""
    known = {*there, ALL, BY_NAME}
    for name in sorted(template.variables - known - ALWAYS):
        close = difflib.get_close_matches(name, there, 1)
        meant = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(there)}"
        raise ConfigError(f"{template.name}: the data has no column {name!r}{meant}")


def made_by(spec: MapConfig) -> dict[str, Column]:
    """The columns that all steps fill, with their types."""
    made: dict[str, Column] = {}
    for step in spec.chain:
        made |= {name: column_of(each) for name, each in step.columns.items()}
        if step.reasoning is not None:
            made[step.reasoning] = Column(type_of(""), nullable=True)
    return made
