"""The command that exports a run's items: `export`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.arguments import RunDir
from engine.cli.common import existing_of_items, mistakes, report_of, tell

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.exports.mixture import Mixture
    from engine.exports.training import Training
    from engine.store.folder import RunFolder


def export(
    run_dir: RunDir,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="PATH",
            help="'-' is standard output; s3:// and gs:// too. Where absent: which formats fit.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            help="jsonl, json, csv, parquet, hf, or a trainer's (listed without -o); by PATH's ending, else jsonl.",
        ),
    ] = None,
    meta: Annotated[bool, typer.Option("--meta", help="Keep _meta: how each item came to be.")] = False,
    test: Annotated[
        float,
        typer.Option("--test", metavar="SHARE", help="Hold out this share, near-duplicates together."),
    ] = 0.0,
    originals: Annotated[
        float,
        typer.Option(
            "--originals", metavar="SHARE", help="Mix in base rows until they are this share of all."
        ),
    ] = 0.0,
    apart: Annotated[
        str, typer.Option("--apart", help="For --test, how near-duplicates are told: auto, vectors or words.")
    ] = "auto",
    closeness: Annotated[
        float, typer.Option("--closeness", help="For --test: the cosine from which rows stay on one side.")
    ] = 0.9,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For what is drawn by chance.")] = 0,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="To a dataset of the Hugging Face hub, as -f hf."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="A repository that --push makes is open to all.")
    ] = False,
    csv_raw: Annotated[
        bool,
        typer.Option("--csv-raw", help="In CSV, no quote before what a spreadsheet would run as a formula."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what stands at PATH, whoever has written it.")
    ] = False,
) -> None:
    """Write the accepted items of a run in another tool's format; mixed with originals, or cut in two, if wanted."""
    from engine.config import RunConfig
    from engine.config.paths import is_remote
    from engine.errors import ConfigError
    from engine.exports.formats import export, form_of, parts
    from engine.exports.mixture import Wanted, mixture_of
    from engine.exports.reinforcement import FORMS as REINFORCEMENT
    from engine.exports.retrieval import FORMS as RETRIEVAL
    from engine.exports.written import refuse_foreign, remember
    from engine.store.folder import RunFolder

    with mistakes():
        if out is None and push is None:
            _list(existing_of_items(run_dir))
            return
        if out is not None and push is not None:
            raise ConfigError("--push: goes to the hub; leave out -o")
        if out is not None:
            _spare_run(Path(out), RunFolder.existing(run_dir))
            _make_room(out)
        if format is not None and format in RETRIEVAL and out is not None:
            asked = _retrieval(run_dir, format, Path(out), force=force)
            tell(f"{asked:,} questions written to {out}")
            return
        if format is not None and format in REINFORCEMENT and out is not None:
            tell(f"{_tasks(run_dir, format, out, force=force):,} tasks written to {out}")
            return
        format = "hf" if push is not None else format or form_of(str(out))
        if out is not None and (count := _pairs(run_dir, format, out, force=force)) is not None:
            remember(RunFolder.existing(run_dir), [Path(out)])
            tell(f"{count:,} pairs written to {out}")
            return
        folder = existing_of_items(run_dir)
        config = RunConfig.load(folder.config, lenient=True)
        wanted = Wanted(test, originals, apart, closeness, seed)
        with _place(out, push, public=public) as place:
            places = parts(("train", "test") if test else ("",), format, place)
            _spare(places.values(), folder, config)
            if out is not None and not force:
                refuse_foreign(folder, places.values())
            with mixture_of(folder, config, wanted, tell) as ready:
                if not sum(ready.counts.values()):
                    raise ConfigError(f"{run_dir}: holds no accepted item to export")
                card = _card(run_dir, config, ready) if format == "hf" else ""
                count = export(
                    ready.splits, format, place, ready.fields, config.dataset.description,
                    meta=meta, card=card, raw_csv=csv_raw,
                )  # fmt: skip
        remember(folder, places.values())
        named = [out or f"the hub: {push}"] if push or is_remote(out or "") else map(str, places.values())
        tell(f"{count:,} items written to {' and '.join(dict.fromkeys(named))}")


def _card(run_dir: Path, config: RunConfig, ready: Mixture) -> str:
    """The hub's card for what is exported."""
    from engine.exports.card import dataset_card

    return dataset_card(report_of(run_dir)[0], config, ready.counts, ready.originals, ready.fields.schema)


def _retrieval(run_dir: Path, format: str, out: Path, *, force: bool) -> int:
    """Writes a benchmark of retrieval made of the run's items and its documents' passages; how many questions."""
    from engine.config import RunConfig
    from engine.documents.shelf import Shelf
    from engine.errors import ConfigError
    from engine.exports.retrieval import files_of, write
    from engine.exports.written import refuse_foreign, remember
    from engine.store.reading import connect, read_form, read_items

    folder = existing_of_items(run_dir)
    config = RunConfig.load(folder.config, lenient=True)
    shelf = Shelf.opened(folder.database)
    if shelf is None:
        raise ConfigError(f"-f {format}: needs items that were made from documents, and these were not")
    places = files_of(format, out)
    _spare(places, folder, config)
    if not force:
        refuse_foreign(folder, places)
    with closing(shelf), closing(connect(folder.database)) as connection:
        connection.execute("BEGIN")  # one transaction: it does not see later commits
        fields = read_form(connection, config.item_fields)
        count = write(format, lambda: read_items(connection, "accepted"), fields, shelf, out)
    if not count:
        raise ConfigError(f"{run_dir}: holds no accepted item to export")
    remember(folder, places)
    return count


def _tasks(run_dir: Path, format: str, out: str, *, force: bool) -> int:
    """Writes the run's items as tasks for reinforcement learning; how many."""
    from engine.config import RunConfig
    from engine.exports.reinforcement import write
    from engine.exports.written import refuse_foreign, remember
    from engine.files.send import written_to
    from engine.store.reading import connect, read_form, read_items

    folder = existing_of_items(run_dir)
    config = RunConfig.load(folder.config, lenient=True)
    with closing(connect(folder.database)) as connection, written_to(out) as path:
        connection.execute("BEGIN")  # one transaction: it does not see later commits
        _spare([path], folder, config)
        if not force:
            refuse_foreign(folder, [path])
        fields = read_form(connection, config.item_fields)
        count = write(format, lambda: read_items(connection, "accepted"), fields, config, path)
    remember(folder, [Path(out)])
    return count


def _pairs(run_dir: Path, format: str, out: str, *, force: bool) -> int | None:
    """Writes preference pairs made of what the run knows; None where the format, or the run, asks for its items."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.exports.formats import export, takes_pairs
    from engine.exports.preferences import pairs_of
    from engine.exports.written import refuse_foreign
    from engine.files.send import written_to
    from engine.runs.modes import MODES
    from engine.store.folder import RunFolder
    from engine.store.reading import connect, read_form

    folder = RunFolder.existing(run_dir)
    config = RunConfig.load(folder.config, lenient=True)
    with closing(connect(folder.database)) as connection:
        fields = read_form(connection, config.item_fields)
        if not takes_pairs(format, fields):
            return None
        answers, description = MODES[folder.mode()].answers, config.dataset.description

        def found() -> Iterator[Training]:
            return pairs_of(connection, fields, description, answers=answers)

        if next(found(), None) is None:
            raise ConfigError(
                f"-f {format}: the run knows no pair: no item was revised, none rejected by a validator beside an "
                "accepted one, no two models answered differently"
            )
        with written_to(out) as path:
            _spare([path], folder, config)
            if not force:
                refuse_foreign(folder, [path])
            return export({}, format, path, fields, description, meta=False, pairs=found)


@contextmanager
def _place(out: str | None, push: str | None, *, public: bool) -> Iterator[Path]:
    """Where to write; once the block ends, what was written is where it belongs."""
    from engine.files.send import pushed, written_to

    if push is None:
        with written_to(str(out)) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="datagen-") as folder:
        yield Path(folder) / "hub"
        tell(pushed(Path(folder) / "hub", push, private=not public))


def _list(folder: RunFolder) -> None:
    """Says which formats fit the run's items, and why the others do not."""
    from rich.table import Table

    from engine.cli.common import show
    from engine.config import RunConfig
    from engine.exports.formats import FORMS, HUB, misfit, takes_pairs
    from engine.exports.reinforcement import READERS as TASKS
    from engine.exports.reinforcement import misfit as no_tasks
    from engine.exports.retrieval import READERS

    config = RunConfig.load(folder.config, lenient=True)
    fields = folder.form(config.item_fields)
    table = Table("format", "for", "fits", box=None)
    for name, reader in {**{n: f.reader for n, f in FORMS.items()}, HUB: "datasets, and the hub"}.items():
        made = "from what the run knows: revised, rejected" if takes_pairs(name, fields) else None
        table.add_row(name, reader, made or misfit(name, fields) or "yes")
    for name, reader in TASKS.items():
        table.add_row(name, reader, no_tasks(fields) or "yes")
    for name, reader in READERS.items():
        table.add_row(
            name, reader, "yes" if config.documents is not None else "needs items made from documents"
        )
    show(table)


def _make_room(out: str) -> None:
    """Makes the folder that is written to. Raises ConfigError."""
    from engine.config.paths import is_remote
    from engine.errors import ConfigError

    if out == "-" or is_remote(out):
        return
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"-o {out}: its folder cannot be made: {error.strerror or error}") from None


def _spare(places: Iterable[Path], folder: RunFolder, config: RunConfig) -> None:
    """Raises ConfigError if the run or its base dataset would be overwritten."""
    from engine.errors import ConfigError

    for place in places:
        _spare_run(place, folder)
        if place.resolve() in [file.resolve() for file in config.dataset.local_files]:
            raise ConfigError(f"-o {place}: is the base dataset; choose another place")


def _spare_run(place: Path, folder: RunFolder) -> None:
    """Raises ConfigError if a file of the run would be overwritten."""
    from engine.errors import ConfigError

    if place.resolve() in [file.resolve() for file in (folder.path, *folder.files)]:
        raise ConfigError(f"-o {place}: is a file of the run itself, or its folder; choose another place")
