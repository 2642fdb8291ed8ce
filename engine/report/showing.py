"""Ways in which a run shows itself while it goes: a panel, lines, JSON lines, a notebook's cell, not at all."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO, runtime_checkable

import orjson

from engine.escaping import printable
from engine.report.live import Snapshot, Snapshots, panel, plain_line
from engine.veil import veiled

if TYPE_CHECKING:
    from rich.live import Live

Kind = Literal["auto", "plain", "rich", "json", "none"]
KINDS: Final[tuple[Kind, ...]] = ("auto", "plain", "rich", "json", "none")
_FIRST_LINE_S, _LINES_S = 5.0, 60.0
"""Seconds until the first line, and between two once it has gone on for a while: a night's log has one a minute."""
PANEL_EVERY_S = 0.25
CELL_EVERY_S = 1.0


@runtime_checkable
class Shown(Protocol):
    """Where a start shows what it does."""

    def say(self, sentence: str) -> None:
        """Something happened that a person should know."""
        ...

    def during(self, snapshots: Snapshots) -> AbstractAsyncContextManager[None]:
        """Shows snapshots while the block lasts."""
        ...

    def ended(self, figures: Mapping[str, Any]) -> None:
        """The start has ended: outcome, accepted items, dollars, folder."""
        ...


def shown_on(stream: TextIO, kind: Kind = "auto") -> Shown:
    """`auto`: a panel on a terminal, lines anywhere else."""
    if kind == "none":
        return Nothing()
    if kind == "json":
        return JsonLines(stream)
    if kind == "rich" or (kind == "auto" and stream.isatty()):
        return Panel(stream)
    return Lines(stream)


def as_shown(show: TextIO | Shown | None) -> Shown:
    """What a caller gives for `show`. With None, a notebook's cell has a display, anything else none."""
    if show is None:
        return Cell() if in_notebook() else Nothing()
    return show if isinstance(show, Shown) else shown_on(show)


def in_notebook() -> bool:
    """Whether this runs in a kernel of Jupyter, VS Code or Colab, or in marimo."""
    if "marimo" in sys.modules:
        with contextlib.suppress(Exception):
            return bool(sys.modules["marimo"].running_in_notebook())
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class Nothing:
    """Shows nothing."""

    def say(self, sentence: str) -> None: ...

    @asynccontextmanager
    async def during(self, snapshots: Snapshots) -> AsyncIterator[None]:
        yield

    def ended(self, figures: Mapping[str, Any]) -> None: ...


class Lines:
    """A line now and then, each with the time of day."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, sentence: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk, or a closed stream, does not end a run
            said = printable(veiled(sentence))
            print(f"{time.strftime('%H:%M:%S')} {said}", file=self._stream, flush=True)

    @asynccontextmanager
    async def during(self, snapshots: Snapshots) -> AsyncIterator[None]:
        async with _beside(self._work(snapshots)):
            yield

    async def _work(self, snapshots: Snapshots) -> None:
        pause = _FIRST_LINE_S
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LINES_S)
            self.say(plain_line(snapshots()))

    def ended(self, figures: Mapping[str, Any]) -> None: ...


class Panel:
    """A panel that stands still on a terminal; what happens scrolls by above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None

    def say(self, sentence: str) -> None:
        said = printable(veiled(sentence))
        with contextlib.suppress(OSError, ValueError):
            if self._live is not None:  # above the panel, not into it
                self._live.console.print(said, markup=False, highlight=False, soft_wrap=True)
            else:
                print(said, file=self._stream, flush=True)

    @asynccontextmanager
    async def during(self, snapshots: Snapshots) -> AsyncIterator[None]:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self._stream)
        restore = _quiet_keys(self._stream)
        look = _drawn(snapshots, console.width)
        with Live(look(), console=console, auto_refresh=False, transient=True, redirect_stdout=False,
                  redirect_stderr=False) as live:  # fmt: skip
            self._live = live
            try:
                async with _beside(self._work(live, snapshots)):
                    yield
            finally:
                self._live = None
                restore()

    async def _work(self, live: Live, snapshots: Snapshots) -> None:
        while True:
            await asyncio.sleep(PANEL_EVERY_S)
            live.update(_drawn(snapshots, live.console.width)(), refresh=True)

    def ended(self, figures: Mapping[str, Any]) -> None: ...


def _quiet_keys(stream: TextIO) -> Callable[[], None]:
    """Keeps the terminal from writing ^C into the panel, of which a row would then stay. Returns what undoes it."""
    try:
        import termios
    except ImportError:  # another system's terminal
        return lambda: None
    try:
        number = stream.fileno()
        before = termios.tcgetattr(number)
        quiet = list(before)
        quiet[3] &= ~termios.ECHOCTL
        termios.tcsetattr(number, termios.TCSANOW, quiet)
    except (AttributeError, OSError, ValueError, termios.error):  # no terminal
        return lambda: None

    def restore() -> None:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(number, termios.TCSANOW, before)

    return restore


def _drawn(snapshots: Snapshots, width: int) -> Any:
    return lambda: panel(snapshots(), width)


class JsonLines:
    """An object a line: progress, what happened, the end; for programs that watch."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, sentence: str) -> None:
        self._put("said", {"said": veiled(sentence)})

    @asynccontextmanager
    async def during(self, snapshots: Snapshots) -> AsyncIterator[None]:
        async with _beside(self._work(snapshots)):
            yield
        self._put("progress", as_plain(snapshots()))

    async def _work(self, snapshots: Snapshots) -> None:
        while True:
            self._put("progress", as_plain(snapshots()))
            await asyncio.sleep(1.0)

    def ended(self, figures: Mapping[str, Any]) -> None:
        self._put("end", figures)

    def _put(self, kind: str, values: Mapping[str, Any]) -> None:
        line = orjson.dumps({"at": round(time.time(), 3), "kind": kind, **values}, default=str).decode()
        with contextlib.suppress(OSError, ValueError):
            print(veiled(line), file=self._stream, flush=True)


def as_plain(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot's figures, as JSON has them."""
    told = asdict(snapshot)
    left = told.pop("left")
    bounds = [None if value == math.inf else round(value, 1) for value in left] if left is not None else None
    accepted, rejected, dollars = told.pop("here")
    return {
        **told,
        "left_s": bounds,
        "acceptance": snapshot.acceptance,
        "each_usd": snapshot.each_usd,
        "expected_usd": snapshot.expected_usd,
        "this_start": {"accepted": accepted, "rejected": rejected, "usd": dollars},
    }


class Cell:
    """A display in a notebook's cell that is updated in place; the page of a report takes its place at the end."""

    def __init__(self) -> None:
        self._said: list[str] = []

    def say(self, sentence: str) -> None:
        self._said = [*self._said[-4:], veiled(sentence)]

    @asynccontextmanager
    async def during(self, snapshots: Snapshots) -> AsyncIterator[None]:
        put = _putter()
        put(self._html(snapshots()))

        async def work() -> None:
            while True:
                await asyncio.sleep(CELL_EVERY_S)
                put(self._html(snapshots()))

        async with _beside(work()):
            yield
        put(self._html(snapshots()))

    def _html(self, snapshot: Snapshot) -> str:
        from engine.report.notebook import progress_html

        return progress_html(snapshot, self._said)

    def ended(self, figures: Mapping[str, Any]) -> None: ...


def _putter() -> Any:
    """What puts HTML into the running cell, in place of what it put there before."""
    marimo = sys.modules.get("marimo")
    with contextlib.suppress(Exception):
        if marimo is not None and marimo.running_in_notebook():
            return lambda html: marimo.output.replace(marimo.Html(html))
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)
    return lambda html: handle.update(HTML(html))


@asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name="display")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
