"""`datagen documents`: what is in documents, and what of it items can be made from; no calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.common import mistakes, say, say_json, show, tell

if TYPE_CHECKING:
    from engine.documents.shelf import Shelf


def documents(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Files, folders, patterns, addresses; or a run's config or folder."
        ),
    ],
    target: Annotated[
        int, typer.Option("--target", min=200, help="About how many characters a passage has.")
    ] = 1200,
    most: Annotated[int, typer.Option("--most", min=200, help="How many it has at most.")] = 2000,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long reading one file may take.")
    ] = 120.0,
    show_all: Annotated[
        bool, typer.Option("--show", help="Print every passage, also those that are left out.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="PATH", help="Write the passages as JSON lines.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which three passages are printed.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False,
) -> None:
    """Files, pages and passages; what cannot be read, and why; shortest, longest and three more to look at."""
    import contextlib

    from engine.analysis.documents import about, extremes, overview_tables, passage_lines, sampled, written

    with mistakes(), contextlib.closing(_shelf(paths, target, most, seconds)) as shelf:
        if json:
            say_json(about(shelf))
        elif not show_all:
            for table in overview_tables(shelf):
                show(table)
            shortest, longest = extremes(shelf)
            named = [("Shortest", shortest), ("Longest", longest)]
            for title, passage in [*named, *(("Sample", each) for each in sampled(shelf, seed))]:
                say(f"\n{title}:")
                for line in passage_lines(passage):
                    say(line)
        else:
            for passage, left_out, same_as in shelf.all_passages():
                for line in passage_lines(passage, left_out, same_as):
                    say(line)
                say("")
        if out is not None:
            say(f"{written(shelf, out):,} passages written to {out}", err=True)


def _shelf(paths: list[str], target: int, most: int, seconds: float) -> Shelf:
    """The documents of a run or a config, where one is named; else those at these places. Raises ConfigError."""
    from engine.config import RunConfig
    from engine.config.documents import DocumentsConfig, PassagesConfig
    from engine.documents.collection import collected
    from engine.documents.shelf import Shelf
    from engine.errors import ConfigError

    first = Path(paths[0])
    if len(paths) == 1 and (first / "run.db").is_file():
        kept = Shelf.opened(first / "run.db")
        if kept is None:
            raise ConfigError(f"{first}: this run was made from no documents")
        return kept
    if len(paths) == 1 and first.suffix in (".yaml", ".yml") and first.is_file():
        spec = RunConfig.load(first, lenient=True).documents
        if spec is None:
            raise ConfigError(f"{first}: names no documents")
        return collected(spec, tell)
    if most < target:
        raise ConfigError(f"--most {most}: is below --target {target}")
    passages = PassagesConfig(target=target, most=most)
    return collected(DocumentsConfig(path=tuple(paths), passages=passages, seconds=seconds), tell)
