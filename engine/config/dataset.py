"""The config section of the base dataset: its files, fields, columns and constraints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_serializer, field_validator, model_validator

from engine.config.markers import ANY, ByContent, NotSecret, Operational, PathFrom, Words
from engine.config.parts import Section
from engine.config.paths import is_remote
from engine.config.reading import ReadingConfig
from engine.constraints import LabelRatio
from engine.constraints.written import WrittenConstraint, compiled
from engine.schema.columns import Column
from engine.schema.types import Type

_AROUND_A_GROUP = re.compile(r"([^\\^$.|?*+()\[\]{}]*)\([^()]*\)([^\\^$.|?*+()\[\]{}]*)")
Labels = Literal["auto", "from_0", "from_1", "letters", "keys", "text"]
OLD_KINDS = {"index": "from_0", "letter": "letters"}
"""Names of earlier releases."""


class LabelField(Section):
    """Which field of a row holds a label, and in which form. A list in it is several labels at once."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    field: str
    pattern: str | None = None
    """A regular expression; its first group is the label, e.g. '#### (.+)' for GSM8K."""
    write: str = ""
    """How a generated label is written back, e.g. '#### {label}'; derived from a simple `pattern`."""
    labels: Annotated[Literal["auto", "open"] | tuple[str, ...], Words()] = "auto"
    """The closed set of labels; `auto` where few values repeat in the dataset, `open` where there is none."""
    inside: str | None = Field(default=None, alias="in")
    """The text part in which the label stands word for word."""
    start: str | None = None
    """The field that holds where in that part the label begins, in characters from 0."""
    kind: Labels = "auto"
    """With choices: how a label names one; as `choices.labels`."""

    @field_validator("kind", mode="before")
    @classmethod
    def _as_before(cls, kind: Any) -> Any:
        return OLD_KINDS.get(kind, kind) if isinstance(kind, str) else kind

    @field_validator("labels", mode="before")
    @classmethod
    def _spelled(cls, labels: Any) -> Any:
        return tuple(map(spelled, labels)) if isinstance(labels, list | tuple) else labels

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

    @model_validator(mode="after")
    def _start_within(self) -> Self:
        if self.start is not None and self.inside is None:
            raise ValueError("start needs in: the text part in which the label begins there")
        return self


def spelled(value: Any) -> str:
    """A value of YAML as the label or word that its writer meant: true is 'yes' in no dataset, but `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


class ChoicesField(Section):
    """The choices of a multiple-choice item: a list in one field, or one column each."""

    field: str | None = None
    columns: list[str] = Field(default_factory=list)
    separator: str | None = None
    """What separates two choices, where the field is one string."""
    keys: Annotated[str | None, NotSecret("the name of a field")] = None
    """The field with the choices' own names, a list beside that of the choices: `choices.label`."""
    labels: Labels = "auto"
    """How a label names a choice: its place from 0 or from 1, its letter, its key, its text."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.field is None) == (not self.columns):
            raise ValueError("give either 'field' (a list) or 'columns' (one choice each)")
        if self.labels == "keys" and self.keys is None:
            raise ValueError("labels: keys needs 'keys', the field that holds them")
        return self


class ExtraField(Section):
    """A further field, carried into prompts and output."""

    separator: str | None = None
    """What separates the entries, where the field is a list written as one string, e.g. '; '."""
    required: bool = False


class MessagesField(Section):
    """A conversation, in OpenAI's form (role, content) or ShareGPT's (from, value)."""

    field: str
    turns: tuple[int, int] | None = None
    """The fewest and the most messages besides the system's; as in the dataset where absent."""
    system: Literal["keep", "drop", "require"] = "keep"
    """Whether a system message may stand first, is left out, or has to be there."""
    last: Literal["assistant", "user"] = "assistant"
    """Whose message is the last: the user's in a dataset of prompts that wait for an answer."""
    tools: str | None = None
    """The field with the tools that may be called, as JSON schemas."""

    @field_validator("turns", mode="before")
    @classmethod
    def _listed(cls, turns: Any) -> Any:
        return tuple(turns) if isinstance(turns, list) else turns

    @field_validator("turns")
    @classmethod
    def _in_order(cls, turns: tuple[int, int] | None) -> tuple[int, int] | None:
        if turns is not None and not 1 <= turns[0] <= turns[1]:
            raise ValueError("must be two numbers, the fewest and the most messages")
        return turns


def _as_field(value: Any) -> Any:
    return {"field": value} if isinstance(value, str) else value


def _as_extras(value: Any) -> Any:
    return {name: {} for name in value} if isinstance(value, list) else value


def _as_parts(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class FieldsConfig(Section):
    """Which fields of a row hold what. A dotted path leads into nested fields: `answers.text`."""

    text: Annotated[str | tuple[str, ...] | None, BeforeValidator(_as_parts)] = None
    """The text; a list where it has several parts, each called by its own name. `text` where nothing is named."""
    label: Annotated[LabelField | None, BeforeValidator(_as_field)] = None
    labels: dict[str, Annotated[LabelField, BeforeValidator(_as_field)]] | Literal["open"] = Field(
        default_factory=dict
    )
    """Several labels by name; or `open`, for a label that is of no closed set."""
    choices: Annotated[ChoicesField | None, BeforeValidator(_as_field)] = None
    solution: str | None = None
    """The field with the worked solution, which is written before the label."""
    messages: Annotated[MessagesField | None, BeforeValidator(_as_field)] = None
    chosen: str | None = None
    rejected: str | None = None
    """The better and the worse answer of a preference pair: texts, or messages."""
    extras: Annotated[dict[str, ExtraField] | Literal["all"], BeforeValidator(_as_extras)] = Field(
        default_factory=dict
    )

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = dict(given)
        if all(given.get(name) is None for name in ("text", "messages", "chosen")):
            given["text"] = "text"
        if given.get("labels") == "open" and given.get("label") is not None:
            label = _as_field(given["label"])
            given["label"] = {**label, "labels": "open"} if isinstance(label, dict) else label
            del given["labels"]
        return given

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.labels == "open":
            raise ValueError("labels: open needs 'label', the field that it is about")
        if (self.chosen is None) != (self.rejected is None):
            raise ValueError("chosen and rejected go together")
        if self.label is not None and self.labels:
            raise ValueError("give either 'label' or 'labels'")
        if self.text == ():
            raise ValueError("text: an empty list names no field")
        self._check_names()
        for name, spec in self.all_labels.items():
            if spec.inside is not None and spec.inside not in self.parts:
                raise ValueError(
                    f"{name}: in: {spec.inside!r} is no text part; there are {', '.join(self.parts)}"
                )
        return self

    def _check_names(self) -> None:
        """Raises ValueError where one field is named for two things, or a name is taken by the engine."""
        clash = {"text", "label", "choices"} & set(self.named_extras)
        taken = dict.fromkeys(self.parts, "the text")
        for spec in self.all_labels.values():
            if spec.field in taken and taken[spec.field] == "the text":
                raise ValueError(f"{spec.field!r} cannot be both the text and the label")
            taken[spec.field] = "the label"
        if clash - set(taken):
            raise ValueError(f"an extra field may not be called {sorted(clash)[0]!r}")
        if "_meta" in {*taken, *self.named_extras}:
            raise ValueError("no field may be called '_meta': that is where the engine keeps its record")
        if both := set(taken) & set(self.named_extras):
            raise ValueError(f"{min(both)!r} is the text or the label already")
        names = [wire_name(part) for part in self.parts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"text: two parts are called {twice!r}")
        if len(names) > 1 and (reserved := {*names} & RESERVED):
            raise ValueError(
                f"text: a part may not be called {min(reserved)!r}, which is the engine's own name"
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The fields of the text; one where it has a single part, none where the item is a conversation."""
        return (self.text,) if isinstance(self.text, str) else self.text or ()

    @property
    def all_labels(self) -> dict[str, LabelField]:
        """The labels by name; a single one is called `label`."""
        if self.label is not None:
            return {"label": self.label}
        return {} if isinstance(self.labels, str) else self.labels

    @property
    def named_extras(self) -> dict[str, ExtraField]:
        """The extras that the config names; none where it names all."""
        return {} if isinstance(self.extras, str) else self.extras

    def columns(self) -> Iterator[str]:
        """The columns that are read, by their first name."""
        paths: list[str | None] = [*self.parts, self.solution, self.chosen, self.rejected, *self.named_extras]
        for label in self.all_labels.values():
            paths += [label.field, label.start]
        if self.choices is not None:
            paths += [self.choices.field, self.choices.keys, *self.choices.columns]
        if self.messages is not None:
            paths += [self.messages.field, self.messages.tools]
        yield from dict.fromkeys(path for path in paths if path is not None)

    def with_columns(self, there: list[str]) -> FieldsConfig:
        """With `extras: all` as the columns that are there and named for nothing else."""
        if not isinstance(self.extras, str):
            return self
        taken = {path for name in self.columns() for path in (name, name.split(".")[0])} | {
            "_meta",
            *RESERVED,
        }
        extras = {name: ExtraField() for name in there if name not in taken}
        return self.model_copy(update={"extras": extras})


RESERVED = frozenset(
    ("text", "label", "labels", "choices", "messages", "tools", "chosen", "rejected", "item", "items")
)
"""Names that mean something of their own in a reply."""


def wire_name(path: str) -> str:
    """The name by which a field is known to a model: the last part of its path."""
    return path.rpartition(".")[2]


class ColumnConfig(Section):
    """What a column holds, where the rows do not show it."""

    type: Any = None
    """An Arrow type such as int64 or string; `[string]` is a list, `{name: string}` an object."""
    enum: tuple[Any, ...] = ()
    range: tuple[float | None, float | None] | None = None
    """The least and the most value."""
    nullable: bool = True
    description: str = ""

    @field_validator("enum", "range", mode="before")
    @classmethod
    def _values(cls, values: Any) -> Any:
        return tuple(values) if isinstance(values, list) else values

    @field_validator("type")
    @classmethod
    def _is_type(cls, type: Any) -> Any:
        if type is not None:
            known = Type.from_json(type)
            from engine.schema.arrow import type_to  # loads pyarrow: for configs that declare types

            type_to(known)
        return type

    @field_validator("range")
    @classmethod
    def _holds_something(cls, range: tuple[float | None, float | None] | None) -> Any:
        if range is not None and None not in range and range[0] > range[1]:  # type: ignore[operator]
            raise ValueError(f"holds nothing: {range[0]:g} is above {range[1]:g}")
        return range

    def column(self, read: Column) -> Column:
        """The column as declared; the rest as the rows show it."""
        low, high = self.range or (None, None)
        return Column(
            read.type if self.type is None else Type.from_json(self.type),
            self.nullable and read.nullable if self.type is None else self.nullable,
            self.enum or read.enum,
            low,
            high,
            self.description,
            read.names,
        )


_WORDS = tuple(
    (ANY, kind)
    for kind in (
        "label_in",
        "label_ratio",
        "contains",
        "excludes",
        "language",
        "regex",
        "starts",
        "ends",
        "one_of",
    )
)


def as_column(value: Any) -> Any:
    named = {"type", "enum", "range", "nullable", "description"}
    return value if isinstance(value, dict) and value and value.keys() <= named else {"type": value}


def _as_places(value: Any) -> Any:
    if isinstance(value, str | Path):
        return (str(value),)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else value


class DatasetConfig(ReadingConfig):
    """The base dataset: its files, its description, its fields and its constraints."""

    path: Annotated[tuple[str, ...] | None, BeforeValidator(_as_places), PathFrom(), ByContent()] = None
    """A file, a pattern, a folder, an address (hf://, s3://, gs://, https://), or a list of them.

    Relative to the config file. Optional if few_shot is 0.
    """
    description: str
    licence: Annotated[str | None, Operational()] = None
    """The base dataset's licence, such as 'mit', for the dataset card of the generated data."""
    fields: FieldsConfig = FieldsConfig()
    columns: dict[str, Annotated[ColumnConfig, BeforeValidator(as_column)]] = Field(default_factory=dict)
    """What columns hold, where the rows do not show it: a type, or type, enum, range, nullable, description."""
    constraints: Annotated[tuple[WrittenConstraint, ...], Words(_WORDS)] = ()
    bad_rows: Literal["skip", "refuse"] = "skip"

    @field_validator("description")
    @classmethod
    def _says_something(cls, description: str) -> str:
        if not description.strip():
            raise ValueError("is empty; say in a sentence or two what the dataset is")
        return description.strip()

    @field_validator("path")
    @classmethod
    def _names_something(cls, path: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if path is not None and not all(map(str.strip, path or ("",))):
            raise ValueError("is empty; name a file, or leave it out")
        return path

    @field_serializer("path")
    def _one_or_several(self, path: tuple[str, ...] | None) -> str | list[str] | None:
        if path is None:
            return None
        return path[0] if len(path) == 1 else list(path)

    @property
    def ratio(self) -> LabelRatio | None:
        return next((c for c in self.constraints if isinstance(c, LabelRatio)), None)

    @property
    def local_files(self) -> list[Path]:
        """Its places that are paths on this machine."""
        return [Path(place) for place in self.path or () if not is_remote(place)]
