"""Loads the base dataset: its examples, its bad rows, its fingerprint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from engine.config import DatasetConfig
from engine.constraints import LabelIn, LabelRatio
from engine.dataset.fields import Fields
from engine.dataset.forms import Example, FieldProblem, LabelStyle, Shape
from engine.dataset.label_form import LabelForm
from engine.dataset.rows import BadRow, Numbered, read_rows, unit_of
from engine.errors import ConfigError
from engine.protocols import Row

_STYLE_SAMPLES = 2_000
"""Rows read to learn how the dataset spells its labels."""
_KEPT_BAD_ROWS = 100
"""Bad rows that are kept; further ones are only counted."""


@dataclass
class BaseDataset:
    """The dataset that generation starts from."""

    fields: Fields
    examples: list[Example] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bad_counts: Counter[str] = field(default_factory=Counter)
    sha256: str = ""
    unit: str = "line"
    rows: int = 0
    """The number of usable rows; for a streamed dataset, of all rows."""
    samples: list[Example] = field(default_factory=list)
    """For a streamed dataset: the usable examples among its first rows."""

    @classmethod
    def load(cls, config: DatasetConfig) -> BaseDataset:
        """Raises ConfigError where the file is not a dataset, has no usable row, or bad rows are refused."""
        if config.path is None:
            return cls(Fields(config.fields))
        fields = Fields(config.fields, _style(config))
        dataset = cls(fields, sha256=_sha256(config.path), unit=unit_of(config.path, config.format))
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for number, row in _rows(config):
            dataset._take(number, row, seen)
        dataset._judge(config)
        dataset.rows = len(dataset.examples)
        dataset.fields = replace(fields, shape=_shape(config, dataset.examples))
        return dataset

    @classmethod
    def streamed(cls, config: DatasetConfig) -> BaseDataset:
        """For reading row by row: the label style and fingerprint, without examples. Raises ConfigError."""
        assert config.path is not None
        fields = Fields(config.fields, _style(config))
        if all(isinstance(row, BadRow) for _, row in islice(_rows(config), _STYLE_SAMPLES)):
            raise ConfigError(f"{config.path}: none of the first rows can be read; is it a dataset?")
        unit, sha256 = unit_of(config.path, config.format), _sha256(config.path)
        count, samples = sum(1 for _ in _rows(config)), list(_samples(config, fields))
        if not samples:
            problem = next((each for each in every_example(config) if isinstance(each, BadRow)), None)
            said = (
                f"{unit} {problem.number}: {problem.detail}" if problem is not None else "the file is empty"
            )
            raise ConfigError(f"{config.path}: none of the first rows can be read; {said}")
        return cls(fields, sha256=sha256, unit=unit, rows=count, samples=samples)

    def _take(self, number: int, row: Row | BadRow, seen: set[tuple[str, tuple[str, ...]]]) -> None:
        if isinstance(row, BadRow):
            return self._refuse(row)
        try:
            example = self.fields.read(number, row)
        except FieldProblem as problem:
            return self._refuse(BadRow(number, problem.reason, str(problem)))
        same = " ".join(example.text.casefold().split()), example.choices
        if same in seen:
            return self._refuse(BadRow(number, "duplicate", "has the text of an earlier row"))
        seen.add(same)
        self.examples.append(example)
        return None

    def _refuse(self, row: BadRow) -> None:
        self.bad_counts[row.reason] += 1
        if len(self.bad) < _KEPT_BAD_ROWS:
            self.bad.append(row)

    def _judge(self, config: DatasetConfig) -> None:
        if self.bad and config.bad_rows == "refuse":
            raise ConfigError(f"{config.path}: {self.complaint()} (dataset.bad_rows: skip leaves them out)")
        if not self.examples:
            raise ConfigError(f"{config.path}: no usable row; {self.complaint() or 'the file is empty'}")

    def complaint(self, shown: int = 3) -> str:
        """'12 bad rows: line 4: …; line 9: …; and 10 more', or '' without bad rows."""
        total = self.bad_counts.total()
        if not total:
            return ""
        named = [f"{self.unit} {row.number}: {row.detail}" for row in self.bad[:shown]]
        more = [f"and {total - shown} more"] if total > shown else []
        return f"{total} bad row{'s' if total > 1 else ''}: " + "; ".join(named + more)


def every_example(config: DatasetConfig) -> Iterator[Example | BadRow]:
    """Row by row, including repeats of an earlier text. Raises ConfigError if the file is not a dataset."""
    fields = Fields(config.fields, _style(config))
    for number, row in _rows(config):
        if isinstance(row, BadRow):
            yield row
            continue
        try:
            yield fields.read(number, row)
        except FieldProblem as problem:
            yield BadRow(number, problem.reason, str(problem))


def _rows(config: DatasetConfig) -> Iterator[Numbered]:
    assert config.path is not None
    return read_rows(config.path, config.format, config.max_row_bytes)


def _style(config: DatasetConfig) -> LabelStyle:
    samples = []
    for _, row in islice(_rows(config), _STYLE_SAMPLES):
        if not isinstance(row, BadRow):
            try:
                samples.append(Fields(config.fields).sample(row))
            except FieldProblem:
                continue  # counted when the rows are loaded
    return LabelStyle.from_samples(config.fields, samples)


def _shape(config: DatasetConfig, examples: list[Example]) -> Shape:
    """What the rows have in common; where a constraint names the labels, these are not of a form to be found."""
    shape = Shape.from_examples(examples)
    named = any(isinstance(each, LabelIn | LabelRatio) for each in config.constraints)
    return replace(shape, label=LabelForm()) if named else shape


def _samples(config: DatasetConfig, fields: Fields) -> Iterator[Example]:
    for number, row in islice(_rows(config), _STYLE_SAMPLES):
        if not isinstance(row, BadRow):
            with suppress(FieldProblem):
                yield fields.read(number, row)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
