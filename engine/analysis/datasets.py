"""Reads a dataset into memory without a run: from a file with named fields, or a run's accepted items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import DatasetConfig, FieldsConfig, RunConfig
from engine.dataset.base import every_example
from engine.dataset.forms import Example
from engine.dataset.rows import BadRow, format_of, read_rows
from engine.diversity.measures.dataset import Measured
from engine.diversity.sameness import compared
from engine.errors import ConfigError
from engine.planning.guidance import value_of

if TYPE_CHECKING:
    from engine.protocols import Vectors

_TEXTS = (
    "text",
    "question",
    "prompt",
    "instruction",
    "input",
    "problem",
    "ctx",
    "sentence",
    "content",
    "Question",
)
"""Field names that are tried as the text where the user names none."""
_LABELS = ("label", "answer", "output", "response", "target")


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
        first = next((row for _, row in read_rows(path) if isinstance(row, dict)), {})
        text = self.text or next((name for name in _TEXTS if isinstance(first.get(name), str)), None)
        if text is None:
            raise ConfigError(
                f"{path}: which field is the text? Its fields are {', '.join(first) or 'none'}; name one (--text)"
            )
        label = self.label or next(
            (name for name in _LABELS if name != text and isinstance(first.get(name), str | int | float)),
            None,
        )
        listed = [name for name in ("choices", "endings") if isinstance(first.get(name), list)]
        given: dict[str, Any] = {"text": text, "choices": listed[0] if listed else None}
        if label is not None:
            given["label"] = {"field": label, "kind": "auto"}
        return FieldsConfig.model_validate(given)


@dataclass(frozen=True)
class Data:
    """One dataset in memory, and the rows that could not be read."""

    path: Path
    examples: list[Example]
    bad: dict[int, str]
    """By row number: why the row could not be read."""

    @classmethod
    def read(cls, path: Path, names: FieldNames) -> Data:
        """Raises ConfigError where there is no usable row. For a run's folder, reads its accepted items."""
        if path.is_dir():
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
        labels = [example.label or "" for example in self.examples]
        extras = {name for example in self.examples[:100] for name in example.extras}
        attributes = {
            name: [value_of(example, name) or "" for example in self.examples] for name in sorted(extras)
        }
        texts = [compared(example) for example in self.examples]
        return Measured(texts, vectors, labels if any(labels) else (), attributes)


def _dataset(path: Path, fields: FieldsConfig) -> DatasetConfig:
    return DatasetConfig(path=path, description="a dataset", fields=fields, format=format_of(path))
