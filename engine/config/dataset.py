"""The config section of the base dataset: its path, fields and constraints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.config.markers import ByContent, Operational, PathFrom
from engine.config.parts import Section
from engine.constraints import LabelRatio
from engine.constraints.written import WrittenConstraint, compiled

Format = Literal["json", "jsonl", "csv", "parquet"]


_AROUND_A_GROUP = re.compile(r"([^\\^$.|?*+()\[\]{}]*)\([^()]*\)([^\\^$.|?*+()\[\]{}]*)")


class LabelField(Section):
    """Which field of a row holds the label, and in which form."""

    field: str
    pattern: str | None = None
    """A regular expression; its first group is the label, e.g. '#### (.+)' for GSM8K."""
    write: str = ""
    """How a generated label is written back, e.g. '#### {label}'; derived from a simple `pattern`."""
    kind: Literal["auto", "index", "letter", "text"] = "auto"
    """For multiple choice: whether the label is a choice's index (from 0), its letter or its text."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None and compiled(pattern).groups < 1:
            raise ValueError("needs one group in parentheses around the label")
        return pattern

    @model_validator(mode="before")
    @classmethod
    def _with_write(cls, given: Any) -> Any:
        """Where `write` is absent, derives it from a pattern that is plain text around one group."""
        if not isinstance(given, dict) or given.get("write"):
            return given
        pattern = given.get("pattern")
        if pattern is None or not isinstance(pattern, str) or compiled(pattern).groups < 1:
            return {**given, "write": "{label}"}
        simple = _AROUND_A_GROUP.fullmatch(pattern)
        if simple is None:
            raise ValueError(
                "needs 'write', such as '#### {label}': how to write a label that the pattern reads"
            )
        return {**given, "write": f"{simple[1]}{{label}}{simple[2]}"}

    @field_validator("write")
    @classmethod
    def _has_place(cls, write: str) -> str:
        if "{label}" not in write:
            raise ValueError("must contain {label}")
        return write


class ChoicesField(Section):
    """The choices of a multiple-choice item: a list in one field, or one column each."""

    field: str | None = None
    columns: list[str] = Field(default_factory=list)
    separator: str | None = None
    """What separates two choices, where the field is one string."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.field is None) == (not self.columns):
            raise ValueError("give either 'field' (a list) or 'columns' (one choice each)")
        return self


class ExtraField(Section):
    """A further field, carried into prompts and output."""

    separator: str | None = None
    """What separates the entries, where the field is a list written as one string, e.g. '; '."""
    required: bool = False


def _as_field(value: Any) -> Any:
    return {"field": value} if isinstance(value, str) else value


def _as_extras(value: Any) -> Any:
    return {name: {} for name in value} if isinstance(value, list) else value


class FieldsConfig(Section):
    """Which fields of a row hold the text, the label, the choices and the extras."""

    text: str = "text"
    label: Annotated[LabelField | None, BeforeValidator(_as_field)] = None
    choices: Annotated[ChoicesField | None, BeforeValidator(_as_field)] = None
    extras: Annotated[dict[str, ExtraField], BeforeValidator(_as_extras)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        clash = {"text", "label", "choices"} & set(self.extras)
        taken = {self.text} | ({self.label.field} if self.label else set())
        if clash - taken:
            raise ValueError(f"an extra field may not be called {sorted(clash)[0]!r}")
        if "_meta" in taken | set(self.extras):
            raise ValueError("no field may be called '_meta': that is where the engine keeps its record")
        if self.label is not None and self.label.field == self.text:
            raise ValueError(f"{self.text!r} cannot be both the text and the label")
        if taken & set(self.extras):
            raise ValueError(f"{sorted(taken & set(self.extras))[0]!r} is the text or the label already")
        return self


class DatasetConfig(Section):
    """The base dataset: its file, its description, its fields and its constraints."""

    path: Annotated[Path | None, PathFrom(), ByContent()] = None
    """Relative to the config file. Optional if few_shot is 0."""
    format: Format | None = None
    """Where absent, the file's extension decides."""
    description: str
    licence: Annotated[str | None, Operational()] = None
    """The base dataset's licence, such as 'mit', for the dataset card of the generated data."""
    fields: FieldsConfig = FieldsConfig()
    constraints: tuple[WrittenConstraint, ...] = ()
    bad_rows: Literal["skip", "refuse"] = "skip"
    max_row_bytes: int = Field(default=1_000_000, ge=100)
    """A row with more bytes is a bad row."""

    @field_validator("description")
    @classmethod
    def _says_something(cls, description: str) -> str:
        if not description.strip():
            raise ValueError("is empty; say in a sentence or two what the dataset is")
        return description.strip()

    @property
    def ratio(self) -> LabelRatio | None:
        return next((c for c in self.constraints if isinstance(c, LabelRatio)), None)
