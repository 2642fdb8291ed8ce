"""Reads documents in a process of its own, which may crash, hang or fill its memory: that costs one file."""

from __future__ import annotations

import os
import resource
import select
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Self

import orjson

from engine.documents.document import Document, Unreadable

MEMORY = 2 << 30
"""Bytes of address space that reading one file may take beyond what the process begins with."""
_LENGTH = struct.Struct("<I")


class Reader:
    """Reads one file at a time. Mutable state: the process, which is started anew once it had to be ended."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long one file may take."""
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path) -> Document:
        """Raises Unreadable."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(os.fsencode(path.absolute()).hex().encode() + b"\n")
            process.stdin.flush()
            told = self._answer(process.stdout)
        except TimeoutError:
            self._end()
            raise Unreadable(
                "too_slow", f"takes longer than {self._seconds:g} s to read (documents.seconds)"
            ) from None
        except (OSError, EOFError):
            code = self._end()
            raise Unreadable("crashed", f"ends the program that reads it ({_ended(code)})") from None
        if "reason" in told:
            raise Unreadable(told["reason"], told["said"])
        return Document.from_json(told)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(  # noqa: S603 - this module, without anybody's words
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for whoever reads the documents, who ends this
        )
        return self._process

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                continue
        return code

    def _answer(self, pipe: IO[bytes]) -> dict[str, Any]:
        """Raises EOFError where the process has ended, TimeoutError."""
        until = time.monotonic() + self._seconds
        head = self._bytes(pipe, _LENGTH.size, until)
        answer: dict[str, Any] = orjson.loads(self._bytes(pipe, _LENGTH.unpack(head)[0], until))
        return answer

    def _bytes(self, pipe: IO[bytes], count: int, until: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(pipe.fileno(), min(1 << 20, count - len(parts)))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)


def _ended(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def main() -> None:
    """Reads paths, one a line, in hexadecimal; writes each document, or why it is none, with its length before it."""
    from engine.documents.reading import document_in

    # What libraries and their threads reserve is not what a file takes.
    begun = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (begun + MEMORY, begun + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not write among the answers
    for line in sys.stdin.buffer:
        data = orjson.dumps(_answer_to(Path(os.fsdecode(bytes.fromhex(line.decode()))), document_in))
        answers.write(_LENGTH.pack(len(data)) + data)
        answers.flush()


def _answer_to(path: Path, document_in: Any) -> dict[str, Any]:
    try:
        document: Document = document_in(path)
        document.text.encode()  # a lone surrogate is no text, and no JSON
        return document.as_json()
    except Unreadable as error:
        return {"reason": error.reason, "said": error.said}
    except OSError as error:
        return {"reason": "unreadable", "said": f"cannot be opened: {error.strerror or error}"}
    except MemoryError:
        return {
            "reason": "too_large",
            "said": f"takes more than {MEMORY >> 20:,} MB of memory to read: split it",
        }
    except ImportError as error:
        return {
            "reason": "not_installed",
            "said": f"needs: pip install 'datagen-engine[documents]' ({error.name})",
        }
    except UnicodeEncodeError:
        return {"reason": "broken", "said": "holds characters that are none"}
    except RecursionError:
        return {"reason": "broken", "said": "is nested too deeply"}
    except Exception as error:  # a reader of somebody else's files may fail in any way: that is this file's
        return {"reason": "broken", "said": f"cannot be read: {type(error).__name__}: {error}"[:300]}


if __name__ == "__main__":
    main()
