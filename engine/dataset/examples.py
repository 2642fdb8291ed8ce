"""The rows of a base dataset, as many as there are: kept in a file once they are more than memory should hold."""

from __future__ import annotations

import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from engine.dataset.forms import Example
from engine.files.rows import BadRow
from engine.files.source import Source
from engine.protocols import Row
from engine.schema.values import dumps, loads

IN_MEMORY = 1 << 25
"""Bytes of rows that are kept in memory; more go to a temporary file."""


class _Rows(Sequence[Example], ABC):
    """Rows that are read one by one, also those of a slice."""

    @abstractmethod
    def _at(self, place: int) -> Example:
        """The row at a place from 0 to the last."""

    @abstractmethod
    def number_at(self, place: int) -> int:
        """The number of the row at a place, without reading it."""

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return [self._at(each) for each in range(*place.indices(len(self)))]
        return self._at(range(len(self))[place])

    def __iter__(self) -> Iterator[Example]:
        return map(self._at, range(len(self)))


class Chosen(_Rows):
    """Some of the rows, in an order of their own."""

    def __init__(self, whole: Sequence[Example], places: Sequence[int]) -> None:
        self.whole = whole
        self._places = array("Q", places)

    def __len__(self) -> int:
        return len(self._places)

    def _at(self, place: int) -> Example:
        return self.whole[self._places[place]]

    def number_at(self, place: int) -> int:
        return numbers_at(self.whole, (self._places[place],))[0]


class Examples(_Rows):
    """Read-only once filled: each access reads its row again. Mutable: the file, and where each row begins."""

    def __init__(self, read: Callable[[int, Row], Example], source: Source) -> None:
        """`read` makes an example of a row."""
        self._read = read
        self._source = source if source.seeks else None
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - lives as long as this
        weakref.finalize(self, self._file.close)
        self._starts = array("Q", (0,))
        self._numbers = array("Q")
        self._using = threading.Lock()

    def add(self, number: int, row: Row) -> None:
        self._numbers.append(number)
        if self._source is not None:  # it can read the row again itself
            return
        text = dumps(row).encode("utf-8", "surrogatepass")
        self._file.write(text)
        self._starts.append(self._starts[-1] + len(text))

    def __len__(self) -> int:
        return len(self._numbers)

    def _at(self, place: int) -> Example:
        return self._read(self._numbers[place], self.row(place))

    def number_at(self, place: int) -> int:
        return self._numbers[place]

    def row(self, place: int) -> Row:
        """The row that an example was read from."""
        with self._using:
            return self._row(place)

    def _row(self, place: int) -> Row:
        if self._source is not None:
            row = self._source.row(self._numbers[place])
            assert not isinstance(row, BadRow)
            return row
        start, end = self._starts[place], self._starts[place + 1]
        self._file.seek(start)
        read: Row = loads(self._file.read(end - start))
        return read


def numbers_at(examples: Sequence[Example], places: Iterable[int]) -> list[int]:
    """The numbers of the rows at these places; of rows that are kept elsewhere, without reading them."""
    if isinstance(examples, _Rows):
        return [examples.number_at(place) for place in places]
    return [examples[place].number for place in places]
