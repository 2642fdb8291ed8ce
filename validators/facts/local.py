"""Evidence from your own documents: a .jsonl, .csv or .parquet file with titles and texts, or a folder."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict

from engine.errors import RetrieverUnavailable
from engine.items import Passage
from engine.protocols import Evidence
from validators.facts.paragraphs import Paragraphs
from validators.facts.titles import Titles

_ENDINGS = (".txt", ".md", ".rst")


class LocalOptions(BaseModel):
    """This source's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local"] = "local"
    path: Path | None = None
    """A .jsonl, .csv or .parquet file, or a folder of .txt, .md and .rst files, each an article named after it.

    Where absent, the documents that items are made from.
    """
    title: str = "title"
    text: str = "text"
    """The names of the fields that hold title and text."""
    url: str | None = None
    """The field that holds a document's address, if there is such a field."""
    licence: str = ""


class Local:
    """Holds all documents in memory once open; `retrieve` searches the titled article, or else all."""

    def __init__(
        self, options: LocalOptions, passages: Callable[[], Iterable[Passage]] | None = None
    ) -> None:
        """`passages` are those of the documents that items are made from.

        Raises ValueError if the path does not exist, its file type is not supported, or there is neither.
        """
        self._options = options
        self._passages = passages
        path = options.path
        if path is None:
            if passages is None:
                raise ValueError(
                    "source.path: is missing, and the config names no documents to take its place"
                )
        elif not path.exists():
            raise ValueError(f"source.path: {path} does not exist")
        elif path.is_file() and path.suffix not in _READERS:
            raise ValueError(f"source.path: {path} is neither a folder nor one of {', '.join(_READERS)}")
        self._paragraphs = Paragraphs()
        self._titles = Titles()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evidence")

    async def __aenter__(self) -> Self:
        """Raises RetrieverUnavailable where the documents cannot be read."""
        await self._in_thread(self._load)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown()
        self._paragraphs.close()
        self._titles.close()

    @property
    def called(self) -> str:
        """What it is, for prompts."""
        return "documents that the dataset's owner trusts"

    def describe(self) -> dict[str, Any]:
        return {"source": "local", "articles": len(self._paragraphs), "paragraphs": self._paragraphs.count}

    async def retrieve(self, wanted: Sequence[tuple[str, str]], k: int) -> list[list[Evidence]]:
        passages: list[list[Evidence]] = await self._in_thread(self._found, wanted, k)
        return passages

    async def _in_thread(self, step: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)

    def _found(self, wanted: Sequence[tuple[str, str]], k: int) -> list[list[Evidence]]:
        return [self._one(entity, claim, k) for entity, claim in wanted]

    def _one(self, entity: str, claim: str, k: int) -> list[Evidence]:
        title = self._titles.find(entity)
        if title is not None:
            return self._paragraphs.best(claim, k, [title])
        return self._paragraphs.best(f"{entity} {claim}", k)

    def _load(self) -> None:
        try:
            self._paragraphs.add(self._articles())
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise RetrieverUnavailable(f"{self._name}: cannot be read: {error}") from None
        if not len(self._paragraphs):
            raise RetrieverUnavailable(f"{self._name}: holds no document")
        self._titles.add(self._paragraphs.titles())

    @property
    def _name(self) -> str:
        return str(self._options.path or "documents.path")

    def _articles(self) -> Iterator[tuple[Evidence, str | Sequence[str]]]:
        options = self._options
        if options.path is None:
            assert self._passages is not None
            for file, passages in groupby(self._passages(), key=lambda passage: passage.file):
                yield Evidence(file, "", None, "", options.licence, "local"), [each.text for each in passages]
            return
        reader = _folder if options.path.is_dir() else _READERS[options.path.suffix]
        for row in reader(options.path):
            if not isinstance(row, dict):
                raise ValueError("a row is not an object")
            title, text = row.get(options.title), row.get(options.text)
            if not isinstance(title, str) or not isinstance(text, str):
                raise ValueError(f"a row has no text in {options.title!r} and {options.text!r}")
            address = str(row.get(options.url) or "") if options.url else str(row.get("_path", ""))
            yield Evidence(title.strip(), "", None, address, options.licence, "local"), text


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield orjson.loads(line)


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(2**31 - 1)  # an article may be long
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
        yield from batch.to_pylist()


def _folder(path: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in _ENDINGS and file.is_file():
            name = file.relative_to(path)
            title = name.with_suffix("").name.replace("_", " ")
            yield {"title": title, "text": file.read_text("utf-8", "replace"), "_path": quote(str(name))}


_READERS = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
