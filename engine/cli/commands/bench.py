"""`datagen bench`: how many concurrent calls to an endpoint are worthwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.arguments import Cap, Code, Config, Sets
from engine.cli.common import FATAL, mistakes, overrides, say, say_json, show, tell

if TYPE_CHECKING:
    from engine.config import RunConfig


def bench(
    config: Config,
    levels: Annotated[
        str | None, typer.Option(help="Calls at once to try, as 1,2,4,8. Default: doubled while it helps.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="Most calls in all.")] = 2000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Most seconds for each level.")] = 30.0,
    budget: Cap = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Have answers streamed: time to first token.")
    ] = False,
    endpoint: Annotated[int, typer.Option(min=0, help="Which of several endpoints, from 0.")] = 0,
    constraints: Annotated[
        int | None,
        typer.Option(
            "--constraints", metavar="N", min=1, help="Instead: N items of each model under each constraint."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write bench.json and bench.svg there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
    set_: Sets = None,
    code: Code = False,
) -> None:
    """Find how many calls at once an endpoint is worth asking: throughput, latency, failures at each level.

    Asks with the prompts of the config. Capped by calls and, where a price is known, by dollars. With --constraints:
    find which model keeps which of the config's constraints, each asked for by itself.
    """

    from engine.bench.results import advice, levels_table, prepare, summary, write
    from engine.bench.run import benched
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.flow.descriptors import most_calls
    from engine.flow.loop import in_loop

    with mistakes():
        most_calls()
        loaded = RunConfig.load(config, overrides(set_, None, budget), allow_code=code)
        if constraints is not None:
            _follow(loaded, constraints, out, json=json)
            return
        told = levels_of(levels)
        if told is not None and calls < told[0]:
            raise ConfigError(f"--calls {calls}: is too few for {told[0]} calls at once (--levels)")
        if out is not None:
            prepare(out)

        async def work() -> tuple[Any, Any, str]:
            return await benched(loaded, told, calls, seconds, stream=stream, endpoint=endpoint, notify=tell)

        sweep, done, model = in_loop(work)
        result = summary(sweep, done, model)
        if out is not None:
            write(out, result, done)
        if json:
            say_json(result)
        else:
            show(levels_table(done))
            for line in advice(sweep, result, out):
                say(line)
        raise typer.Exit(0 if result["knee"] is not None else FATAL)


def _follow(config: RunConfig, each: int, out: Path | None, *, json: bool) -> None:
    """Which model keeps which constraint."""
    import orjson

    from engine.bench.following import followed, following_tables
    from engine.files.writing import replacing
    from engine.flow.loop import in_loop
    from engine.report.tables import listed

    found = in_loop(lambda: followed(config, each, tell))
    result = found.as_dict()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "bench.json") as file:
            file.write(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode() + "\n")
    if json:
        say_json(result)
    else:
        for listing in following_tables(found):
            show(listed(listing))
            say(listing.said)
        say(f"Spent ${found.spent_usd:.4f}.{f' Ended early: {found.ended}.' if found.ended else ''}")
    raise typer.Exit(FATAL if not any(each.read for each in found.results) else 0)


def levels_of(text: str | None) -> list[int] | None:
    """Raises ConfigError."""
    from engine.errors import ConfigError

    if text is None:
        return None
    try:
        levels = sorted({int(part) for part in text.split(",")})
    except ValueError:
        levels = []
    if not levels or levels[0] < 1 or levels[-1] > 10_000:
        raise ConfigError(f"--levels {text}: must be numbers from 1 to 10,000, such as 1,4,16")
    return levels
