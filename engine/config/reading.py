"""How a dataset's files are read: format, encoding, delimiter, which part of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from engine.config.parts import Section

Format = Literal["json", "jsonl", "csv", "tsv", "txt", "parquet", "arrow", "xlsx"]
_NAMED = {"comma": ",", "tab": "\t", "\\t": "\t", "semicolon": ";", "pipe": "|", "space": " "}


def _listed(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list) else value


class CsvConfig(Section):
    """Delimited text; what is absent is found in the file."""

    delimiter: str | None = None
    """One character, or tab, comma, semicolon, pipe."""
    quote: str | None = None
    """The character around a cell; empty where quotes are characters like any other."""
    header: Annotated[bool | tuple[str, ...] | None, BeforeValidator(_listed)] = None
    """Whether the first line names the columns; a list of names where it does not."""

    @field_validator("delimiter", mode="before")
    @classmethod
    def _named(cls, delimiter: Any) -> Any:
        given = _NAMED.get(delimiter, delimiter) if isinstance(delimiter, str) else delimiter
        if isinstance(given, str) and len(given) != 1:
            raise ValueError("must be one character, or tab, comma, semicolon or pipe")
        return given

    @field_validator("quote")
    @classmethod
    def _one(cls, quote: str | None) -> str | None:
        if quote is not None and len(quote) > 1:
            raise ValueError("must be one character, or empty")
        return quote


class ReadingConfig(Section):
    """How files become rows."""

    format: Format | None = None
    """Where absent, the file's content and ending decide."""
    encoding: str | None = None
    """Where absent, the file's byte order mark, else UTF-8. With utf-8, lines that are none are bad rows."""
    csv: CsvConfig = CsvConfig()
    at: str = ""
    """The dotted path to the list of rows within a JSON object, or the sheet of a workbook."""
    split: str | None = None
    """Of a folder or a repository with several splits: which; `train` where absent."""
    subset: str | None = None
    """Of a repository with several configurations: which; the default one where absent."""
    max_row_bytes: int = Field(default=1_000_000, ge=100)
    """A row with more bytes is a bad row."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str | None) -> str | None:
        import codecs

        if encoding is None:
            return None
        try:
            known = codecs.lookup(encoding)
        except LookupError:
            raise ValueError("is no encoding that Python knows, such as utf-8, cp1252, gb18030") from None
        if not getattr(known, "_is_text_encoding", True):
            raise ValueError("is no encoding of text")
        return encoding
