"""Finds a config's documents, reads them, cuts them, and says which passages will do."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from engine.config.documents import DocumentsConfig
from engine.documents.cutting import VERSION as CUT_VERSION
from engine.documents.cutting import cut
from engine.documents.document import Document, Unreadable
from engine.documents.junk import junk
from engine.documents.process import Reader
from engine.documents.reading import ENDINGS, READER_VERSION
from engine.documents.shelf import File, Shelf, is_shelf
from engine.errors import ConfigError
from engine.files.fetch import fetched, is_remote
from engine.files.places import natural
from engine.items import Passage

Tell = Callable[[str], None]
VERSION = f"{READER_VERSION}/{CUT_VERSION}"
_TOLD_EVERY = 100
"""Files."""
_AHEAD = 4
"""Files that are read ahead of the one whose passages are looked at."""
_DEEPEST = 6
"""Headings of a passage's path."""


def found(places: Sequence[str]) -> list[tuple[str, Path]]:
    """The files of these places, each once, with the name by which an item points at it. Raises ConfigError.

    Of a folder, those whose names end as documents do; a file that is named itself may be called anything.
    """
    files: dict[Path, str] = {}
    for place in places:
        path = fetched(place).path if is_remote(place) else Path(place)
        if path.is_dir():
            inside = sorted(_inside(path), key=natural)
            if not inside:
                raise ConfigError(
                    f"documents.path: {place}: holds no document; there may be {', '.join(ENDINGS)}"
                )
            for each in inside:
                files.setdefault(each, each.relative_to(path).as_posix())
        elif path.is_file():
            files.setdefault(path, path.name)
        elif any(mark in place for mark in "*?["):
            matched = sorted(map(Path, glob.glob(place, recursive=True)), key=natural)  # noqa: PTH207 - also absolute
            matched = [each for each in matched if each.is_file()]
            if not matched:
                raise ConfigError(f"documents.path: {place}: no file matches")
            root = Path(os.path.commonpath([each.parent for each in matched]))
            for each in matched:
                files.setdefault(each, each.relative_to(root).as_posix())
        else:
            raise ConfigError(f"documents.path: {place}: {'is no file' if path.exists() else 'no such file'}")
    return _named_apart(files)


def _inside(folder: Path) -> Iterator[Path]:
    for each in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in each.relative_to(folder).parts)
        if not hidden and each.suffix.lower().lstrip(".") in ENDINGS and each.is_file():
            yield each


def _named_apart(files: dict[Path, str]) -> list[tuple[str, Path]]:
    """With names that no two files share: those of different places may be called alike."""
    names = list(files.values())
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    return [(f"{path.parent.name}/{name}" if name in twice else name, path) for path, name in files.items()]


def collected(config: DocumentsConfig, tell: Tell = lambda sentence: None) -> Shelf:
    """Reads and cuts all documents. Raises ConfigError where there is none, or an unreadable one is refused."""
    [first, *more] = config.path
    if not more and is_shelf(Path(first)) and (kept := Shelf.opened(Path(first))) is not None:
        return kept
    from threadpoolctl import threadpool_limits

    from engine.documents.alike import Alike  # loads numpy: for runs over documents

    files = found(config.path)
    shelf = Shelf.temporary()
    alike = Alike(shelf.text)
    number = 0
    # The reader has the other core: threads that compare vectors of one file would only wait for it.
    with (
        Reader(config.seconds) as reader,
        threadpool_limits(1, "blas"),
        closing(_read(files, reader)) as every,
    ):
        for place, read in enumerate(every):
            if place and place % _TOLD_EVERY == 0:
                tell(f"{place:,} of {len(files):,} documents read, {number:,} passages.")
            (name, path), document = read
            sha256, size = _digest(path)
            if isinstance(document, Unreadable):
                shelf.add_file(
                    File(place, name, sha256, size, None, 0, document.reason, document.said, VERSION)
                )
                continue
            pages = len(document.pages) if document.pages else None
            said = "; ".join(document.notes)
            shelf.add_file(File(place, name, sha256, size, pages, len(document.text), "", said, VERSION))
            passages = list(_passages(document, config, name, sha256, number))
            number += len(passages)
            shelf.add(place, passages)
            fit = [(each.number, each.text) for each, left_out in passages if not left_out]
            same = alike.same(fit)
            shelf.repeats(
                (each[0], before) for each, before in zip(fit, same, strict=True) if before is not None
            )
    _judge(shelf, config)
    return shelf


def _read(
    files: Sequence[tuple[str, Path]], reader: Reader
) -> Generator[tuple[tuple[str, Path], Document | Unreadable]]:
    """Each file with what came of it; the next ones are read while the caller works on this one."""

    def read(file: tuple[str, Path]) -> Document | Unreadable:
        try:
            return reader.read(file[1])
        except Unreadable as error:
            return error

    beside = ThreadPoolExecutor(1, "documents")
    try:
        ahead = deque(beside.submit(read, file) for file in files[:_AHEAD])
        for place, file in enumerate(files):
            document = ahead.popleft().result()
            ahead.extend(beside.submit(read, later) for later in files[place + _AHEAD : place + _AHEAD + 1])
            yield file, document
    finally:  # whoever is interrupted does not wait for files that nobody will look at
        beside.shutdown(wait=False, cancel_futures=True)


def _judge(shelf: Shelf, config: DocumentsConfig) -> None:
    """Raises ConfigError."""
    unread = [file for file in shelf.files() if not file.is_read]
    missing = next((file for file in unread if file.reason == "not_installed"), None)
    if missing is not None:
        raise ConfigError(f"documents.path: {missing.name}: {missing.said}")
    said = "; ".join(f"{file.name} {file.said}" for file in unread[:3])
    more = f"; and {len(unread) - 3} more" if len(unread) > 3 else ""
    if unread and config.unreadable == "refuse":
        raise ConfigError(
            f"documents.path: {len(unread)} of {len(shelf.files())} files cannot be read: {said}{more} "
            "(documents.unreadable: report leaves them out)"
        )
    usable = shelf.usable()
    if not usable:
        why = f"none of {len(shelf.files())} files can be read" if len(unread) == len(shelf.files()) else (
            "no passage will do: " + ", ".join(f"{count} {kind}" for kind, count in shelf.left_out().items())
        )  # fmt: skip
        raise ConfigError(f"documents.path: {why}{': ' if said else ''}{said}{more}")
    if max(config.hops) > len(usable):
        raise ConfigError(
            f"documents.hops: {max(config.hops)} passages of different documents are wanted, and there "
            f"{'is one document' if len(usable) == 1 else f'are {len(usable)} documents'} with passages"
        )


def _digest(path: Path) -> tuple[str, int]:
    """(SHA-256, bytes); of a file that cannot be opened, of nothing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except OSError:
        return hashlib.sha256().hexdigest(), 0


def _passages(
    document: Document, config: DocumentsConfig, name: str, sha256: str, first: int
) -> Iterator[tuple[Passage, str]]:
    """Each passage, and why nothing can be made from it."""
    path: list[tuple[int, str]] = []
    ahead = list(reversed(document.headings))
    spans = cut(document, config.passages.target, config.passages.most)
    for number, (start, end) in enumerate(spans, first):
        # A passage stands under the headings that are open where it begins, and under its own first lines.
        while ahead and ahead[-1].start <= start + _OWN:
            if ahead[-1].start > start and path and ahead[-1].level <= path[-1][0]:
                break
            _, level, title = ahead.pop()
            path = [each for each in path if each[0] < level] + [(level, title)]
        headings = [title for _, title in path][-_DEEPEST:]
        text = document.text[start:end]
        breaks = tuple(page - start for page in document.pages if start < page < end)
        passage = Passage(
            number, name, sha256, start, end, text, " > ".join(headings), document.page_of(start), breaks
        )
        yield passage, junk(text, headings)
        while ahead and ahead[-1].start < end:
            _, level, title = ahead.pop()
            path = [each for each in path if each[0] < level] + [(level, title)]


_OWN = 120
"""Characters: headings that stand within them at a passage's beginning are its own."""


def digest_of(shelf: Shelf, config: DocumentsConfig) -> str:
    """What makes two runs' documents the same: files by content, the reader and the cut that they were made with."""
    return shelf.digest(config.passages.target, config.passages.most)


def digest_of_files(shelf: Shelf, config: DocumentsConfig) -> str:
    """The same digest, of a shelf that a run keeps, unless there are other files now, or they hold something else.

    What is gone does not matter: what was made of it is kept, by whichever reader. What lies elsewhere is not fetched
    again for this.
    """
    try:
        there = [] if any(map(is_remote, config.path)) else found(config.path)
    except ConfigError:
        there = []
    before = {file.name: file.sha256 for file in shelf.files()}
    if any(before.get(name) != _digest(path)[0] for name, path in there):
        return "other files"
    return digest_of(shelf, config)
