"""Loads the base dataset: its examples, its bad rows, its schema, its fingerprint."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

from engine.config import DatasetConfig
from engine.constraints import allowed_by
from engine.dataset.examples import Examples
from engine.dataset.fields import Fields
from engine.dataset.forms import Example, FieldProblem
from engine.dataset.label_form import LabelForm
from engine.dataset.labels import closed_names
from engine.dataset.shape import GatheredShape, Shape
from engine.dataset.survey import Surveying, converter
from engine.errors import ConfigError
from engine.files.rows import BadRow, Numbered
from engine.files.source import Source, source_of
from engine.protocols import Row
from engine.schema.columns import Column
from engine.schema.values import dumps

_SAMPLES = 2_000
"""Rows of a streamed dataset that are kept as samples."""
_KEPT_BAD_ROWS = 100
"""Bad rows that are kept; further ones are only counted."""


@dataclass
class BaseDataset:
    """The dataset that generation starts from."""

    fields: Fields
    examples: Sequence[Example] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bad_counts: Counter[str] = field(default_factory=Counter)
    sha256: str = ""
    source: Source | None = None
    rows: int = 0
    """The number of usable rows; for a streamed dataset, of all rows."""
    samples: list[Example] = field(default_factory=list)
    """For a streamed dataset: the usable examples among its first rows."""

    @classmethod
    def load(cls, config: DatasetConfig) -> BaseDataset:
        """Raises ConfigError where the files are no dataset, there is no usable row, or bad rows are refused."""
        if config.path is None:
            return cls(Fields(config.fields, shape=_without_rows(config)))
        source = source_of(config.path, config)
        loading = _Loading(source, config)
        dataset = loading.loaded()
        dataset._judge(config)
        return dataset

    @classmethod
    def surveyed(cls, config: DatasetConfig) -> BaseDataset:
        """For reading row by row, whatever the rows hold: without examples or samples. Raises ConfigError."""
        assert config.path is not None
        source = source_of(config.path, config)
        surveying = Surveying(source, config)
        for _, row in source.rows():
            surveying.add(row)
        survey = surveying.survey()
        return cls(survey.fields, sha256=source.sha256(), source=source, rows=survey.count)

    @classmethod
    def streamed(cls, config: DatasetConfig) -> BaseDataset:
        """For reading row by row: without examples. Raises ConfigError."""
        dataset = cls.surveyed(config)
        source = dataset.source
        assert source is not None
        gathered = GatheredShape(dataset.fields.solution_name)
        for number, row in islice(dataset.numbered(), _SAMPLES):
            example = dataset._read(number, row)
            if isinstance(example, BadRow):
                dataset._refuse(example)
            else:
                dataset.samples.append(example)
                gathered.add(example)
        if not dataset.samples:
            first = next(iter(dataset.bad), None)
            said = (
                f"{source.where(first.number)}: {first.detail}" if first is not None else "the file is empty"
            )
            raise ConfigError(f"{source.name}: none of the first rows can be read; {said}")
        dataset.fields = replace(dataset.fields, shape=_declared(config, dataset.fields, gathered.shape()))
        return dataset

    def with_columns(self, config: DatasetConfig, made: Mapping[str, Column]) -> BaseDataset:
        """The dataset whose rows have these columns besides, and whose items are read by this config's fields."""
        schema = self.fields.schema.declared(made)
        mapping = config.fields.with_columns(list(schema.columns))
        lists = (
            name for name, spec in mapping.all_labels.items() if schema.at(spec.field).type.kind == "array"
        )
        several = self.fields.several | frozenset(lists)
        fields = replace(self.fields, config=mapping, schema=schema, several=several)
        return replace(self, fields=replace(fields, shape=_declared(config, fields, Shape())))

    def numbered(self) -> Iterator[Numbered]:
        """Every row in the types of its columns, or a BadRow in its place. Raises ConfigError."""
        assert self.source is not None
        convert = converter(self.source, self.fields.schema)
        return (
            (number, row if isinstance(row, BadRow) else convert(row)) for number, row in self.source.rows()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen or assumed when the files were read, as sentences."""
        return self.source.notes if self.source is not None else ()

    @property
    def name(self) -> str:
        return self.source.name if self.source is not None else ""

    def _read(self, number: int, row: Row | BadRow) -> Example | BadRow:
        if isinstance(row, BadRow):
            return row
        try:
            return self.fields.read(number, row)
        except FieldProblem as problem:
            return BadRow(number, problem.reason, str(problem))

    def _refuse(self, row: BadRow) -> None:
        self.bad_counts[row.reason] += 1
        if len(self.bad) < _KEPT_BAD_ROWS:
            self.bad.append(row)

    def _judge(self, config: DatasetConfig) -> None:
        if self.bad and config.bad_rows == "refuse":
            raise ConfigError(f"{self.name}: {self.complaint()} (dataset.bad_rows: skip leaves them out)")
        if not self.examples:
            there = [name for name in self.fields.schema.columns if name != "_meta"]
            columns = f". The columns are {', '.join(there)}{_meant(config, there)}" if there else ""
            said = f"{self.complaint()}{columns}" if self.bad else "the file is empty"
            raise ConfigError(f"{self.name}: no usable row; {said}")

    def complaint(self, shown: int = 3) -> str:
        """'12 bad rows: line 4: …; line 9: …; and 10 more', or '' without bad rows."""
        total = self.bad_counts.total()
        if not total:
            return ""
        assert self.source is not None
        named = [f"{self.source.where(row.number)}: {row.detail}" for row in self.bad[:shown]]
        more = [f"and {total - shown} more"] if total > shown else []
        return f"{total} bad row{'s' if total > 1 else ''}: " + "; ".join(named + more)


class _Loading:
    """Loads a dataset whole. Mutable: what is read so far."""

    def __init__(self, source: Source, config: DatasetConfig) -> None:
        self._source = source
        self._config = config
        self._surveying = Surveying(source, config)
        self._shape = GatheredShape(Fields(config.fields).solution_name)
        self._seen: dict[bytes, int] = {}

    def loaded(self) -> BaseDataset:
        surveying = self._surveying
        fields = Fields(self._config.fields, several=surveying.several, spoken=surveying.spoken)
        dataset = BaseDataset(fields, source=self._source)
        with ThreadPoolExecutor(1) as beside:  # a digest of a file leaves other threads to run
            digest = beside.submit(self._source.sha256)
            examples = self._filled(dataset)
            dataset.sha256 = digest.result()
        shape = _declared(self._config, dataset.fields, self._shape.shape())
        dataset.fields = replace(dataset.fields, shape=shape)
        dataset.examples, dataset.rows = examples, len(examples)
        return dataset

    def _filled(self, dataset: BaseDataset) -> Examples:
        """The usable rows; `dataset` gets its fields, without their shape, and its bad rows."""
        examples = Examples(lambda number, row: dataset.fields.read(number, row), self._source)
        if self._surveying.is_simple:
            dataset.fields = replace(dataset.fields, schema=self._surveying.schema())
            for number, row in self._source.rows():
                self._surveying.add(row)
                self._take(dataset, examples, number, row)
            dataset.fields = self._surveying.survey().fields
        else:
            for _, row in self._source.rows():
                self._surveying.add(row)
            dataset.fields = self._surveying.survey().fields
            for number, row in dataset.numbered():
                self._take(dataset, examples, number, row)
        return examples

    def _take(self, dataset: BaseDataset, examples: Examples, number: int, row: Row | BadRow) -> None:
        example = dataset._read(number, row)
        if isinstance(example, BadRow):
            return dataset._refuse(example)
        key = _fingerprint(example)
        before = self._seen.setdefault(key, len(examples))
        if before < len(examples) and _same(example, examples[before]):
            return dataset._refuse(BadRow(number, "duplicate", "has the text of an earlier row"))
        self._shape.add(example)
        assert not isinstance(row, BadRow)
        examples.add(number, row)
        return None


def _fingerprint(example: Example) -> bytes:
    """Equal for rows that are the same but for case and spacing, and seldom for others; quick to compute."""
    text = _whole(example)
    if not text.isascii():
        text = "".join(text.casefold().split())
    plain = text.encode("utf-8", "surrogatepass").translate(_LOWER, b" \t\n\r\v\f")
    return hashlib.blake2b(plain, digest_size=12).digest()


_LOWER = bytes(range(256)).lower()


def _whole(example: Example) -> str:
    """All texts of a row, not only one of its parts: a premise stands in many rows."""
    text = dumps(dict(example.parts)) if example.parts else example.text
    return "\0".join((text, *example.choices)) if example.choices else text


def _same(one: Example, other: Example) -> bool:
    return _whole(one).casefold().split() == _whole(other).casefold().split()


def every_example(config: DatasetConfig) -> Iterator[Example | BadRow]:
    """Row by row, including repeats of an earlier text. Raises ConfigError if the files are no dataset."""
    assert config.path is not None
    source = source_of(config.path, config)
    surveying = Surveying(source, config)
    for _, row in source.rows():
        surveying.add(row)
    dataset = BaseDataset(surveying.survey().fields, source=source)
    for number, row in dataset.numbered():
        yield dataset._read(number, row)


def _declared(config: DatasetConfig, fields: Fields, shape: Shape) -> Shape:
    """The shape with what the config and the columns say of the labels, which counts before what the rows show."""
    forms = dict(shape.labels)
    allowed = allowed_by(config.constraints)
    if config.fields.label is not None:
        forms["label"] = shape.label
    for name, spec in config.fields.all_labels.items():
        known = spec.labels if isinstance(spec.labels, tuple) else closed_names(fields.schema, spec)
        if spec.inside is not None:
            forms[name] = LabelForm()  # where it has to stand is known, and checked
        elif spec.labels == "open" or (allowed and name == "label"):
            found = forms.get(name, LabelForm())
            forms[name] = LabelForm() if found.kind == "closed" or allowed else found
        elif known:
            forms[name] = LabelForm.closed(known)
    return replace(shape, label=forms.pop("label", LabelForm()), labels=forms, allowed=allowed)


def _without_rows(config: DatasetConfig) -> Shape:
    return _declared(config, Fields(config.fields), Shape())


def _meant(config: DatasetConfig, columns: list[str]) -> str:
    """Columns that are named almost like fields that are not there."""
    spec = config.fields
    paths = [*spec.parts, *(each.field for each in spec.all_labels.values())]
    said = []
    for path in dict.fromkeys(path.split(".")[0] for path in paths):
        close = difflib.get_close_matches(path, columns, 1) if path not in columns else []
        said += [f"did you mean {each!r} for {path!r}?" for each in close]
    return f"; {' '.join(said)}" if said else ""
