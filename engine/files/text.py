"""The text of a file as UTF-8: by its byte order mark, as the config says, or strictly UTF-8."""

from __future__ import annotations

import codecs
import io
from typing import IO

from engine.errors import ConfigError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LIKELY = ("cp1252", "gb18030", "shift_jis", "euc_kr", "big5", "cp1251", "koi8_r")
"""Encodings that people's files have besides UTF-8, in the order in which they are named."""
_PIECE = 1 << 20


def as_utf8(stream: io.BufferedReader, encoding: str | None, name: str) -> io.BufferedReader:
    """The same text in UTF-8, without a byte order mark. Text that is taken for UTF-8 is not looked at here.

    Reading raises ConfigError where another encoding turns out wrong.
    """
    head = stream.peek(4)[:4]
    mark, marked = next(((m, e) for m, e in _MARKS if head.startswith(m)), (b"", None))
    if mark:
        stream.read(len(mark))
    wanted = marked or encoding
    if wanted is None or codecs.lookup(wanted).name == "utf-8":
        return stream
    return io.BufferedReader(_Transcoded(stream, wanted, name), _PIECE)


class _Transcoded(io.RawIOBase):
    """Reads text of one encoding as UTF-8. Mutable: the decoder, and what is decoded and not yet read."""

    def __init__(self, stream: IO[bytes], encoding: str, name: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._name = name
        self._ready = b""
        self._ended = False
        self._lines = 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            piece = self._stream.read(_PIECE)
            self._ended = not piece
            try:
                text = self._decoder.decode(piece, final=self._ended)
            except UnicodeDecodeError as error:
                line = self._lines + error.object[: error.start].count(b"\n")
                raise ConfigError(
                    f"{self._name} line {line}: is not {self._encoding}; set dataset.encoding to what it is"
                ) from None
            self._lines += text.count("\n")
            self._ready = text.encode("utf-8", "surrogatepass")
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def not_utf8(name: str, line: int, raw: bytes) -> ConfigError:
    """The error for a line that is not UTF-8, with the encodings in which it makes sense."""
    likely = [each for each in LIKELY if _reads(raw, each)]
    known = f"; it can be read as {', '.join(likely)}" if likely else ""
    return ConfigError(
        f"{name} line {line}: is not UTF-8{known}. Set dataset.encoding to what it is, "
        "or to utf-8 to leave out such lines"
    )


def _reads(raw: bytes, encoding: str) -> bool:
    try:
        text = raw.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return all(each.isprintable() or each.isspace() for each in text)
