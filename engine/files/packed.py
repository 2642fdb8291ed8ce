"""Opens a file whatever it is packed in (gzip, zstd, bzip2, xz, zip of one file), and tells what it holds."""

from __future__ import annotations

import io
import lzma
import zipfile
from pathlib import Path, PurePath
from typing import IO, Any, Literal

from engine.errors import ConfigError

Holds = Literal["parquet", "arrow", "arrow_stream", "xlsx", "text"]
PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
)
_PIECE = 1 << 20
_DEEPEST = 3


def bare_name(path: PurePath) -> PurePath:
    """The name without the endings of what it is packed in: `a.jsonl` of `a.jsonl.gz`."""
    while path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    return path


def opened(path: Path) -> tuple[io.BufferedReader, Holds, str]:
    """(stream, what it holds, its name inside). Raises ConfigError, OSError."""
    raw = path.open("rb")
    try:
        return _opened(raw, path)
    except BaseException:
        raw.close()
        raise


def _opened(raw: io.BufferedReader, path: Path) -> tuple[io.BufferedReader, Holds, str]:
    file, name = raw, bare_name(path).name
    for _ in range(_DEEPEST):
        head = raw.peek(16)[:16]
        packing = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
        if packing is None:
            return raw, _holds(head, path), name
        if packing == "zip":
            archive = zipfile.ZipFile(raw)
            if "xl/workbook.xml" in archive.namelist():
                raw.seek(0)
                return raw, "xlsx", name
            inside, name = _only_one(archive, path)
            raw = _Reader(inside, file)
        elif packing == "xz":
            raw = _Reader(lzma.LZMAFile(raw), file)  # noqa: SIM115 - it is closed with what is made of it
        else:
            raw = _Reader(_unpacked(raw, packing), file)
    raise ConfigError(f"{path}: is packed more than {_DEEPEST} times over")


class _Reader(io.BufferedReader):
    """A stream out of a file, which is closed with it. Mutable: the file."""

    def __init__(self, stream: Any, file: io.BufferedReader) -> None:
        super().__init__(stream, _PIECE)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


def _unpacked(raw: io.BufferedReader, packing: str) -> _Readable:
    import pyarrow

    return _Readable(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw), packing))


class _Readable(io.RawIOBase):
    """Arrow's decompressed stream as Python's layers want one. Raises OSError for broken data."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _only_one(archive: zipfile.ZipFile, path: Path) -> tuple[IO[bytes], str]:
    """The only file in the archive that is no system's own. Raises ConfigError."""
    inside = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not PurePath(info.filename).name.startswith(".")
        and "__MACOSX" not in info.filename
    ]
    if len(inside) != 1:
        named = ", ".join(info.filename for info in inside[:5])
        raise ConfigError(f"{path}: holds {len(inside)} files ({named}); unpack it, and name the one to read")
    if inside[0].flag_bits & 0x1:
        raise ConfigError(f"{path}: is encrypted; unpack it first")
    return archive.open(inside[0]), PurePath(inside[0].filename).name


def _holds(head: bytes, path: Path) -> Holds:
    """Raises ConfigError for what is no dataset by its first bytes."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    if head.startswith(b"\xff\xff\xff\xff") and len(head) > 8:
        return "arrow_stream"
    if head.startswith(b"version https://"):
        raise ConfigError(f"{path}: is a pointer of Git LFS, not the data; fetch it with: git lfs pull")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ConfigError(f"{path}: is a web page, not data; the download has failed")
    if head.lstrip().startswith((b"<?xml", b"<Error")):
        raise ConfigError(f"{path}: is XML, not data; if it is a refusal, the download has failed")
    if head.startswith((b"\xd0\xcf\x11\xe0", b"%PDF", b"SQLite format 3")):
        raise ConfigError(f"{path}: is not a dataset that can be read; save it as CSV, JSON lines or .xlsx")
    return "text"
