"""Reads a dataset into memory without a run: from a file with named fields, or a run's accepted items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import DatasetConfig, FieldsConfig, RunConfig
from engine.dataset.base import every_example
from engine.dataset.forms import Example
from engine.dataset.guess import guessed
from engine.diversity.measures.dataset import Measured
from engine.diversity.sameness import compared
from engine.errors import ConfigError
from engine.files.rows import BadRow
from engine.files.source import rows_of
from engine.planning.guidance import value_of
from engine.schema.columns import schema_of

if TYPE_CHECKING:
    from engine.protocols import Vectors

_FIRST = 500
"""Rows by which it is told what the columns hold."""


@dataclass(frozen=True)
class FieldNames:
    """How to read datasets: a run's config, or the names of their fields."""

    config: Path | None = None
    text: str | None = None
    label: str | None = None

    def fields(self, path: Path) -> FieldsConfig:
        """Raises ConfigError where the text field is neither named nor recognised."""
        if self.config is not None:
            return RunConfig.load(self.config, lenient=True).dataset.fields
        rows = [row for _, row in islice(rows_of(path), _FIRST) if isinstance(row, dict)]
        guess = guessed(schema_of(rows), rows).fields
        given: dict[str, Any] = {"text": self.text} if self.text is not None else dict(guess)
        if self.text is not None and "choices" in guess:
            given["choices"] = guess["choices"]
        label = self.label or guess.get("label")
        if label is not None and label != given.get("text"):
            given["label"] = label
        if not given.keys() & {"text", "messages", "chosen"}:
            there = ", ".join(rows[0]) if rows else "none"
            raise ConfigError(f"{path}: which field is the text? Its fields are {there}; name one (--text)")
        given.pop("extras", None)
        return FieldsConfig.model_validate(given)


@dataclass(frozen=True)
class Data:
    """One dataset in memory, and the rows that could not be read."""

    path: Path
    examples: Sequence[Example]
    bad: dict[int, str]
    """By row number: why the row could not be read."""

    @classmethod
    def read(cls, path: Path, names: FieldNames) -> Data:
        """Raises ConfigError where there is no usable row. For a run's folder, reads its accepted items."""
        if (path / "accepted.jsonl").is_file():
            own = path / "config.yaml"
            names = replace(names, config=own) if names == FieldNames() and own.exists() else names
            path = path / "accepted.jsonl"
        if not path.exists():
            raise ConfigError(f"{path}: no such file")
        rows = list(every_example(_dataset(path, names.fields(path))))
        examples = [each for each in rows if isinstance(each, Example)]
        if not examples:
            reason = next((each.detail for each in rows if isinstance(each, BadRow)), "the file is empty")
            raise ConfigError(f"{path}: no usable row; {reason}")
        bad = {each.number: each.detail for each in rows if isinstance(each, BadRow)}
        return cls(path, examples, bad)

    def measured(self, vectors: Vectors | None) -> Measured:
        labels = [example.answer for example in self.examples]
        extras = {name for example in self.examples[:100] for name in example.extras}
        attributes = {
            name: [value_of(example, name) or "" for example in self.examples] for name in sorted(extras)
        }
        texts = [compared(example) for example in self.examples]
        return Measured(texts, vectors, labels if any(labels) else (), attributes)


def _dataset(path: Path, fields: FieldsConfig) -> DatasetConfig:
    return DatasetConfig(path=(str(path),), description="a dataset", fields=fields)
