"""JSON as people have it: lines, arrays, values one after another, and rows wrapped in an object."""

from __future__ import annotations

import codecs
import io
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, Any

import orjson

from engine.errors import ConfigError
from engine.files.rows import BadRow, Numbered, Row, row_of, too_long
from engine.files.text import not_utf8
from engine.schema.values import is_exact

WHOLE = 1 << 26
"""Bytes up to which a file that is no JSON lines is parsed in one piece; a larger one in a stream."""
_LARGEST = 1 << 31
"""Bytes of a single value, as far as they are unpacked: a small file may hold any number of them."""
_PIECE = 1 << 20
_CHAT = ({"role", "content"}, {"from", "value"})


class JsonFile:
    """Reads one file. Mutable: where each line begins, in bytes, as far as lines have been read."""

    def __init__(
        self, name: str, limit: int, *, at: str = "", lenient: bool = False, lines: bool = True
    ) -> None:
        """`at` is the dotted path to the rows; `lenient` makes a line that is not UTF-8 a bad row.

        `lines`: whether the file's ending says JSON lines, so that a single object is a row.
        """
        self._name = name
        self._limit = limit
        self._at = at
        self._lenient = lenient
        self._lines = lines
        self.starts = array("Q")

    def unit_of(self, stream: io.BufferedReader) -> str:
        """What row numbers count in this file."""
        return "line" if self._is_lines(_first_line(stream)[1], stream) else "element"

    def rows(self, stream: io.BufferedReader) -> Iterator[Numbered]:
        """Raises ConfigError where the file is no dataset."""
        before, first = _first_line(stream)
        if b"\r{" in first:  # lines that end as on old machines
            yield from self._of_lines(chain(first.split(b"\r"), stream), before)
        elif self._is_lines(first, stream):
            yield from self._of_lines(chain((first,), stream), before)
        else:
            yield from self._values(first, stream)

    def _is_lines(self, first: bytes, stream: io.BufferedReader) -> bool:
        opening = first.lstrip()[:1]
        if self._at or opening == b"[" or (opening == b"{" and not self._is_line(first)):
            return False
        # The only value of a .json may wrap the rows.
        return opening != b"{" or self._lines or bool(stream.peek(1))

    # --- lines ---

    def _is_line(self, line: bytes) -> bool:
        """Whether the first line is a row by itself, or a broken one: not the beginning of a longer value."""
        try:
            _loads(line)
        except ValueError:
            return line.rstrip().endswith(b"}") and line.count(b"{") <= line.count(b"}")
        return True

    def _of_lines(self, lines: Iterable[bytes], blank: Sequence[int]) -> Iterator[Numbered]:
        """`blank` are the lengths of the lines before these, which are blank."""
        start, starts = 0, self.starts
        for number, length in enumerate(blank, 1):
            if number > len(starts):
                starts.append(start)
            start += length
        for number, line in enumerate(lines, len(blank) + 1):
            if number > len(starts):  # a later reading may end early, and takes nothing back
                starts.append(start)
            start += len(line)
            if line and not line.isspace():
                yield number, self._row(number, line)

    def row_at(self, stream: IO[bytes], number: int) -> Row | BadRow:
        """The row of one line, which has been read before."""
        stream.seek(self.starts[number - 1])
        return self._row(number, stream.readline())

    def _row(self, number: int, line: bytes) -> Row | BadRow:
        if len(line) > self._limit and len(line.strip()) > self._limit:
            return too_long(number, len(line.strip()), self._limit)
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return self._other(number, line)
        return row_of(number, value if is_exact(value) else json.loads(line))

    def _other(self, number: int, line: bytes) -> Row | BadRow:
        """A line that is JSON with NaN or Infinity, or none."""
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            if not self._lenient:
                raise not_utf8(self._name, number, line) from None
            return BadRow(number, "invalid_utf8", f"byte {error.start} is not valid UTF-8")
        try:
            value = json.loads(text)
            json.dumps(value, ensure_ascii=False).encode()
            return row_of(number, value)
        except UnicodeEncodeError:
            return BadRow(number, "not_json", "is not JSON: half of a pair of escapes (a lone surrogate)")
        except RecursionError:
            return BadRow(number, "not_json", "is nested too deep")
        except ValueError as error:
            return BadRow(number, "not_json", f"is not JSON: {error}")

    # --- longer values ---

    def _values(self, first: bytes, stream: IO[bytes]) -> Iterator[Numbered]:
        """Rows of an array, values one after another, or the rows that an object wraps."""
        head = first + stream.read(WHOLE)
        if len(head) > WHOLE and not self._at and head.lstrip()[:1] == b"[":
            yield from self._streamed(head, stream)
            return
        text = head + stream.read(_LARGEST)
        if len(text) >= _LARGEST:
            raise ConfigError(f"{self._name}: is too large for one JSON value; save it as JSON lines")
        values = self._parsed(text)
        rows = self._found(values)
        measured = len(head) > self._limit
        for number, value in enumerate(rows, 1):
            size = len(json.dumps(value)) if measured else 0
            yield number, too_long(number, size, self._limit) if size > self._limit else row_of(number, value)

    def _parsed(self, text: bytes) -> list[Any]:
        """All values of the text, one after another. Raises ConfigError."""
        try:
            value = orjson.loads(text)
            if is_exact(value):
                return [value]
        except orjson.JSONDecodeError:
            pass
        try:
            return list(_one_after_another(text.decode()))
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            start = text.rfind(b"\n", 0, error.start) + 1
            raise not_utf8(self._name, line, text[start:].split(b"\n", 1)[0]) from None
        except json.JSONDecodeError as error:
            raise ConfigError(f"{self._name} line {error.lineno}: is not JSON: {error.msg}") from None
        except RecursionError:
            raise ConfigError(f"{self._name}: is nested too deep") from None

    def _found(self, values: list[Any]) -> list[Any]:
        """The rows among these values. Raises ConfigError where it is open which they are."""
        if len(values) != 1:
            return values
        [value] = values
        if self._at:
            return self._there(value)
        if isinstance(value, list):
            return self._listed(value)
        if not isinstance(value, dict):
            raise ConfigError(f"{self._name}: holds a {type(value).__name__}, not rows")
        if isinstance(names := value.get("columns"), list) and isinstance(value.get("data"), list):
            return [dict(zip(names, row, strict=False)) for row in value["data"] if isinstance(row, list)]
        lists = dict(_lists(value))
        if len(lists) > 1:
            raise ConfigError(
                f"{self._name}: holds several lists of objects; set dataset.at to that of the rows: "
                f"{', '.join(lists)}"
            )
        return next(iter(lists.values()), values)

    def _listed(self, value: list[Any]) -> list[Any]:
        """The elements as rows; texts alone stand in the column `text`."""
        if value and all(isinstance(each, str) for each in value):
            return [{"text": each} for each in value]
        if value and all(isinstance(each, list) for each in value):
            raise ConfigError(f"{self._name}: its rows are lists, not objects with fields; save it as CSV")
        return value

    def _there(self, value: Any) -> list[Any]:
        for part in self._at.split("."):
            if isinstance(value, list) and not part.isdigit():
                value = [inner for each in value for inner in _listed(each, part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and int(part) < len(value):
                value = value[int(part)]
            else:
                there = ", ".join(value) if isinstance(value, dict) else f"a {type(value).__name__}"
                raise ConfigError(f"{self._name}: dataset.at: there is no {part!r}; there is {there}")
        if not isinstance(value, list):
            raise ConfigError(
                f"{self._name}: dataset.at: {self._at} is a {type(value).__name__}, not a list of rows"
            )
        return value

    def _streamed(self, head: bytes, stream: IO[bytes]) -> Iterator[Numbered]:
        """The elements of a large array, read as they come."""
        number = 0
        try:
            for number, (value, size) in enumerate(_elements(head, stream), 1):
                yield (
                    number,
                    too_long(number, size, self._limit) if size > self._limit else row_of(number, value),
                )
        except UnicodeDecodeError:
            raise ConfigError(
                f"{self._name}: is not UTF-8 after element {number}; set dataset.encoding to what it is"
            ) from None
        except json.JSONDecodeError as error:
            raise ConfigError(f"{self._name}: is not JSON after element {number}: {error.msg}") from None


def _loads(text: bytes | str) -> Any:
    """Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _first_line(stream: io.BufferedReader) -> tuple[list[int], bytes]:
    """(lengths of the blank lines before it, the first line that is not blank)."""
    blank = []
    while (line := stream.readline()) and not line.strip():
        blank.append(len(line))
    return blank, line


def _one_after_another(text: str) -> Iterator[Any]:
    """The values of a text, with or without commas between them. Raises JSONDecodeError."""
    decoder, place = json.JSONDecoder(), 0
    while True:
        while place < len(text) and text[place] in " \t\r\n,\ufeff":
            place += 1
        if place == len(text):
            return
        value, place = decoder.raw_decode(text, place)
        yield value


def _elements(head: bytes, stream: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """(element, its characters) of an array that is longer than what is read at once. Raises JSONDecodeError."""
    decoder, utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")("strict")
    text, ended = utf8.decode(head), False
    place = text.index("[") + 1
    while True:
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if text[place : place + 1] == "]":
            return
        # A number at the end of what is read may go on: an element counts once something stands after it.
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            if ended:
                raise
            end = len(text)
        if end < len(text):
            yield value, end - place
            place = end
            continue
        if ended:
            raise json.JSONDecodeError("the array is cut off", "", 0)
        piece = stream.read(max(_PIECE, len(text) - place))
        ended = not piece
        text, place = text[place:] + utf8.decode(piece, final=ended), 0


def _lists(value: dict[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """The outermost lists of objects in an object, by dotted path; the messages of a chat are none."""
    for name, inner in value.items():
        place = f"{path}{name}"
        if isinstance(inner, list) and inner and all(isinstance(each, dict) for each in inner):
            if not any(keys <= inner[0].keys() for keys in _CHAT):
                yield place, inner
        elif isinstance(inner, dict) and depth < 2:
            yield from _lists(inner, f"{place}.", depth + 1)


def _listed(value: Any, part: str) -> list[Any]:
    inner = value.get(part) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else [] if inner is None else [inner]
