"""Items made from documents as benchmarks of retrieval: questions, answers, the passages that hold them, the corpus.

Sources of the shapes: BEIR's loader (corpus.jsonl, queries.jsonl, qrels/test.tsv with a header), ragas'
EvaluationDataset of SingleTurnSample (user_input, reference, reference_contexts, reference_context_ids), TREC's topics
and qrels (query, 0, document, grade) with the corpus as tab-separated lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.analysis.documents import passage_id, passage_row
from engine.dataset.fields import Fields
from engine.dataset.forms import FieldProblem
from engine.documents.shelf import Shelf
from engine.errors import ConfigError
from engine.files.writing import replacing
from engine.items import said
from engine.protocols import Row


@dataclass(frozen=True)
class Question:
    """One item as a query."""

    id: str
    text: str
    answer: str
    passages: tuple[int, ...]
    """Which hold the answer; none where the documents have none."""


def questions_of(rows: Iterable[Row], fields: Fields) -> Iterator[Question]:
    """The items that say where they come from."""
    for row in rows:
        meta = row.get("_meta")
        if not isinstance(meta, dict) or (source := meta.get("source")) is None:
            continue
        try:
            example = fields.read(0, {name: value for name, value in row.items() if name != "_meta"})
        except FieldProblem:
            continue
        sources = source if isinstance(source, list) else [source]
        held = () if meta.get("unanswerable") else tuple(each["passage"] for each in sources)
        yield Question(f"q{meta['id']}", example.text, said(example.label) or _last_said(example.parts), held)


def _last_said(parts: Mapping[str, Any]) -> str:
    messages = parts.get("messages") or ()
    return next(
        (str(each.get("content") or "") for each in reversed(messages) if each["role"] == "assistant"), ""
    )


def write(form: str, rows: Callable[[], Iterable[Row]], fields: Fields, shelf: Shelf, folder: Path) -> int:
    """Writes the files of `form` into a folder; how many questions there are. Raises ConfigError, StoreError."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"-o {folder}: is a file; {form} needs a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return FORMS[form](lambda: questions_of(rows(), fields), shelf, folder)


def files_of(form: str, folder: Path) -> list[Path]:
    """What is written there."""
    return [folder / name for name in FILES[form]]


Questions = Callable[[], Iterator[Question]]


def _beir(questions: Questions, shelf: Shelf, folder: Path) -> int:
    _jsonl(folder / "corpus.jsonl", map(_document, shelf.passages()))
    count = _jsonl(
        folder / "queries.jsonl",
        ({"_id": each.id, "text": each.text, "metadata": {"answer": each.answer}} for each in questions()),
    )
    (folder / "qrels").mkdir(exist_ok=True)
    lines = (f"{each.id}\tp{number}\t1" for each in questions() for number in each.passages)
    _lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore"], lines)
    return count


def _document(passage: Any) -> Row:
    row = passage_row(passage)
    return {"_id": row.pop("id"), "title": row.pop("title"), "text": row.pop("text"), "metadata": row}


def _ragas(questions: Questions, shelf: Shelf, folder: Path) -> int:
    _jsonl(folder / "corpus.jsonl", map(passage_row, shelf.passages()))
    return _jsonl(
        folder / "dataset.jsonl",
        (
            {
                "user_input": each.text,
                "reference": each.answer,
                "reference_contexts": [shelf.text(number) for number in each.passages],
                "reference_context_ids": [f"p{number}" for number in each.passages],
            }
            for each in questions()
        ),
    )


def _trec(questions: Questions, shelf: Shelf, folder: Path) -> int:
    _lines(
        folder / "collection.tsv",
        [],
        (f"{passage_id(each)}\t{_flat(each.text)}" for each in shelf.passages()),
    )
    count = _lines(folder / "topics.tsv", [], (f"{each.id}\t{_flat(each.text)}" for each in questions()))
    _lines(folder / "answers.tsv", [], (f"{each.id}\t{_flat(each.answer)}" for each in questions()))
    qrels = (f"{each.id} 0 p{number} 1" for each in questions() for number in each.passages)
    _lines(folder / "qrels.txt", [], qrels)
    return count


def _flat(text: str) -> str:
    return " ".join(text.split())


def _jsonl(path: Path, rows: Iterable[Row]) -> int:
    return _lines(path, [], (orjson.dumps(row).decode() for row in rows))


def _lines(path: Path, head: Iterable[str], lines: Iterable[str]) -> int:
    count = 0
    with replacing(path) as file:
        for line in head:
            file.write(f"{line}\n")
        for line in lines:
            file.write(f"{line}\n")
            count += 1
    return count


FORMS: Mapping[str, Callable[[Questions, Shelf, Path], int]] = {"beir": _beir, "ragas": _ragas, "trec": _trec}
FILES = {
    "beir": ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"),
    "ragas": ("corpus.jsonl", "dataset.jsonl"),
    "trec": ("collection.tsv", "topics.tsv", "answers.tsv", "qrels.txt"),
}
READERS = {
    "beir": "BEIR: corpus, queries, qrels",
    "ragas": "ragas: an EvaluationDataset, and its corpus",
    "trec": "TREC's tools, Pyserini: topics, qrels, collection",
}
"""Who reads it."""
