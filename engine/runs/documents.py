"""A run's documents: loaded or taken from the run, checked against the config, told to workers, used up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.config import RunConfig
from engine.config.dataset import wire_name
from engine.config.paths import is_remote
from engine.documents.collection import collected
from engine.documents.shelf import Shelf
from engine.errors import ConfigError
from engine.planning.turns import Turns
from engine.prompts.render import QUOTE, QUOTES
from engine.report.formatting import counted
from engine.report.tables import USED_UP
from engine.store.reading import is_answered


def shelf_of(config: RunConfig, kept: Path | None) -> Shelf | None:
    """The documents that the config names: as the run keeps them, once it has begun. Raises ConfigError."""
    if config.documents is None:
        return None
    there = Shelf.opened(kept) if kept is not None else None
    if there is not None and kept is not None and is_answered(kept):
        return there
    try:
        return collected(config.documents)
    except ConfigError as error:
        if there is not None:
            return there
        key, _, said = str(error).partition(": ")
        raise config.wrong(key, said) from None


def check_documents(config: RunConfig) -> None:
    """Raises ConfigError where what is asked of documents has no place in an item."""
    if config.documents is None:
        return
    fields = config.dataset.fields
    if config.documents.unanswerable and (fields.label is None or fields.choices is not None):
        raise config.wrong(
            "documents.unanswerable",
            "needs dataset.fields.label, an answer in words, which then says that there is none",
        )
    if taken := {QUOTE, QUOTES} & {wire_name(name) for name in (*fields.named_extras, *fields.parts)}:
        raise config.wrong(
            "dataset.fields",
            f"no field may be called {min(taken)!r}: under this name comes an item's evidence",
        )


def at(config: RunConfig, places: tuple[str, ...]) -> RunConfig:
    """The config with its documents at these places."""
    assert config.documents is not None
    return config.changed(documents=config.documents.model_copy(update={"path": places}))


def without_keys(config: RunConfig) -> RunConfig:
    """As the run folder keeps it: what leads to a document elsewhere may be a key of the holder's."""
    if config.documents is None:
        return config
    places = config.documents.path
    return at(config, tuple(each.partition("?")[0] if is_remote(each) else each for each in places))


@contextmanager
def for_workers(config: RunConfig, shelf: Shelf | None) -> Iterator[RunConfig]:
    """The config that workers are told: their documents are the passages that this run keeps, in a file."""
    if shelf is None:
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="datagen-") as folder:
        path = Path(folder) / "passages.db"
        shelf.write(path)
        yield at(config, (str(path),))


def used_up(turns: Turns | None, committed: int, accepted: int) -> str:
    """Why there was nothing more to ask for, where all passages have had all their turns; else ''."""
    if turns is None or committed < turns.batches:
        return ""
    return (
        f"{USED_UP}: {counted(turns.items, 'item')} asked for from {counted(turns.passages, 'passage')}, {accepted:,} "
        "accepted. Add documents and start a new run, raise documents.per_passage there, or lower generate.target"
    )
