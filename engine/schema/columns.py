"""The schema of a dataset: what each column holds, read off all rows or declared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.schema.types import NULL, NUMBER, STRING, Type, conforms, fits, json_schema, merged, type_of
from engine.schema.values import loads

CLASS_LABEL = "ClassLabel"


@dataclass(frozen=True, slots=True)
class Column:
    """What every value of a column is."""

    type: Type = NULL
    nullable: bool = True
    enum: tuple[Any, ...] = ()
    """The only values there may be; empty where any may be."""
    least: float | None = None
    most: float | None = None
    description: str = ""
    names: tuple[str, ...] = ()
    """Of integers that stand for names: the names, in order (a ClassLabel of `datasets`)."""

    def complaint(self, value: Any) -> str | None:
        """Why the column cannot hold this JSON value; None where it can."""
        if value is None:
            return None if self.nullable else "is missing"
        if not fits(value, self.type):
            return f"is not of type {self.type}"
        if self.enum and value not in self.enum:
            return f"is none of {', '.join(map(repr, self.enum[:20]))}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.least is not None and value < self.least:
                return f"is below {self.least:g}"
            if self.most is not None and value > self.most:
                return f"is above {self.most:g}"
        return None

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one value."""
        schema = json_schema(self.type)
        if self.enum:
            schema["enum"] = list(self.enum)
        if self.least is not None:
            schema["minimum"] = self.least
        if self.most is not None:
            schema["maximum"] = self.most
        if self.description:
            schema["description"] = self.description
        return schema

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, for `from_json`; what is at its default is left out."""
        shown: dict[str, Any] = {"type": self.type.as_json()}
        for name in ("enum", "least", "most", "description", "names"):
            if (value := getattr(self, name)) not in (None, (), ""):
                shown[name] = list(value) if isinstance(value, tuple) else value
        return shown if self.nullable else {**shown, "nullable": False}

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> Column:
        """Raises ValueError."""
        return cls(
            Type.from_json(shown["type"]),
            bool(shown.get("nullable", True)),
            tuple(shown.get("enum", ())),
            shown.get("least"),
            shown.get("most"),
            str(shown.get("description", "")),
            tuple(shown.get("names", ())),
        )


_ANYTHING = Column(Type("json"))


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a dataset, in order."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    arrow: str = ""
    """Arrow's own schema where the file has one, with its metadata: serialized, in base64."""

    def column(self, name: str) -> Column:
        """The column, or one that may hold anything."""
        return self.columns.get(name) or _ANYTHING

    def at(self, path: str) -> Column:
        """The column, or the part of one that a dotted path leads to, inside objects and lists of them."""
        if path in self.columns or "." not in path:
            return self.column(path)
        name, *parts = path.split(".")
        type = self.column(name).type
        listed = False
        for part in parts:
            while type.inner is not None:
                type, listed = type.inner, True
            type = dict(type.fields).get(part, Type("json"))
        return Column(Type("list", type) if listed else type)

    def declared(self, columns: Mapping[str, Column]) -> Schema:
        """With these columns in place of what was read off the rows."""
        return replace(self, columns={**self.columns, **columns})

    def as_json(self) -> dict[str, Any]:
        return {"columns": {n: c.as_json() for n, c in self.columns.items()}, "arrow": self.arrow}

    @classmethod
    def from_json(cls, shown: Mapping[str, Any] | None) -> Schema:
        if not shown:
            return cls()
        columns = {name: Column.from_json(column) for name, column in shown["columns"].items()}
        return cls(columns, shown.get("arrow", ""))


class Gathered:
    """Reads a schema off rows. Mutable: the types so far, which fields rows have, and how many of these are null."""

    def __init__(self) -> None:
        self._types: dict[str, Type] = {}
        self._shapes: Counter[tuple[str, ...]] = Counter()
        self._nulls: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """Counts one row."""
        types = self._types
        self._shapes[tuple(row)] += 1
        for name, value in row.items():
            if value is None:
                self._nulls[name] += 1
                types.setdefault(name, NULL)
                continue
            known = types.get(name, NULL)
            if not conforms(value, known) or known is NULL:
                types[name] = merged(known, type_of(value))

    def schema(self) -> Schema:
        rows = self._shapes.total()
        filled: Counter[str] = Counter()
        for names, count in self._shapes.items():
            for name in names:
                filled[name] += count
        return Schema(
            {
                name: Column(type, nullable=filled[name] - self._nulls[name] < rows)
                for name, type in self._types.items()
            }
        )


def schema_of(rows: Iterable[Mapping[str, Any]]) -> Schema:
    """The schema that all these rows fit."""
    gathered = Gathered()
    for row in rows:
        gathered.add(row)
    return gathered.schema()


class GatheredText:
    """Reads a schema off rows whose cells are all text. Mutable: what every cell of a column says so far.

    A column holds numbers only where writing them gives the same text again: 007 and 1.50 stay as they are.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, Type] = {}
        self._filled: dict[str, int] = {}
        self._rows = 0

    def add(self, row: Mapping[str, str]) -> None:
        """Counts one row."""
        self._rows += 1
        for name, cell in row.items():
            if cell == "":
                self._kinds.setdefault(name, NULL)
                continue
            self._filled[name] = self._filled.get(name, 0) + 1
            known = self._kinds.get(name, NULL)
            if known is not STRING:
                both = merged(known, _type_of_text(cell))
                self._kinds[name] = both if both.kind in ("integer", "number") else STRING

    def schema(self) -> Schema:
        columns = {}
        for name, kind in self._kinds.items():
            nullable = kind not in (NULL, STRING) and self._filled.get(name, 0) < self._rows
            columns[name] = Column(STRING if kind is NULL else kind, nullable)
        return Schema(columns)


def _type_of_text(cell: str) -> Type:
    if _WHOLE.fullmatch(cell):
        return type_of(int(cell))
    if _DECIMAL.fullmatch(cell) and repr(float(cell)) == cell:
        return NUMBER
    return STRING


_WHOLE = re.compile(r"0|-?[1-9]\d{0,18}")
_DECIMAL = re.compile(r"-?\d+\.\d+")


def typed_cells(row: Mapping[str, str], schema: Schema) -> dict[str, Any]:
    """A row of text cells in the types of its columns; an empty cell of a number is None."""
    typed: dict[str, Any] = dict(row)
    for name, column in schema.columns.items():
        cell = typed.get(name)
        if cell.__class__ is str and column.type.name != "string":
            typed[name] = _cell_of(cell, column.type)
    return typed


def _cell_of(cell: str, type: Type) -> Any:
    """The cell as its column's type; as it stands where it is no such value."""
    if cell == "":
        return None
    try:
        match type.kind:
            case "integer":
                return int(cell)
            case "number":
                return int(cell) if _WHOLE.fullmatch(cell) else float(cell)
            case "boolean":
                return {"true": True, "false": False}.get(cell.casefold(), cell)
            case "array" | "object" | "any":
                return loads(cell)
    except ValueError:
        pass
    return cell
