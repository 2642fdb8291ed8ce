"""Starts the server for `datagen view`: a port, a token, what is said about it, the browser; until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from engine.errors import ConfigError
from engine.store.folder import RunFolder
from engine.view.folders import runs_below
from engine.view.guard import Guard
from engine.view.server import Server

PORT = 7080
_TRIED = 20
"""Ports after the usual one that are tried where that is taken."""
_CLOSING_S = 1.0
"""Seconds that open pages are waited for at the end."""
LOOPBACK = "127.0.0.1"


class Served(NamedTuple):
    """Where the pages are."""

    address: str
    """With the token."""
    port: int
    app: web.Application


@asynccontextmanager
async def served(
    root: Path, *, port: int | None = None, host: str = LOOPBACK, token: str | None = None
) -> AsyncIterator[Served]:
    """Serves the runs in or below a folder for the block. Without a port, the first free one from 7080 on.

    Raises ConfigError where there is no such folder, or no such port.
    """
    if not await asyncio.to_thread(root.is_dir):
        raise ConfigError(f"{root}: there is no such folder")
    token = token or secrets.token_urlsafe(24)
    for each in [port] if port is not None else [*range(PORT, PORT + _TRIED), 0]:
        sock = None
        with contextlib.suppress(OSError):
            sock = web_socket(host, each)
        if sock is not None:
            break
    else:
        raise ConfigError(f"--port {port}: is in use, or cannot be opened; leave it out for a free one")
    number = int(sock.getsockname()[1])
    names = () if host == LOOPBACK else (host, *_own_names())
    app = Server(root, Guard(token, number, names)).app()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING_S)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        shown = LOOPBACK if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
        yield Served(f"http://{shown}:{number}/?token={token}", number, app)
    finally:
        await runner.cleanup()


def web_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _own_names() -> tuple[str, ...]:
    """The names by which other machines may reach this one."""
    name = socket.gethostname()
    addresses: set[str] = set()
    with contextlib.suppress(OSError):
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)}
    return (name, *sorted(addresses))


async def serve(
    root: Path, say: Callable[[str], None], *, port: int | None, host: str, token: str | None, browser: bool
) -> None:
    """Serves until a signal ends it, or it is cancelled. Raises ConfigError."""
    ended = asyncio.Event()
    _on_signals(ended.set)
    async with served(root, port=port, host=host, token=token) as there:
        runs = await asyncio.to_thread(runs_below, root)
        say(f"{len(runs):,} run{'' if len(runs) == 1 else 's'} below {root}")
        say(f"Open {there.address}")
        if remote := _remote():
            say(f"From your own machine, first: ssh -N -L {there.port}:127.0.0.1:{there.port} {remote}")
        say("Ctrl-C ends it.")
        if browser and not remote:
            await asyncio.to_thread(_opened, there.address)
        await ended.wait()
        if any(RunFolder(run).pending.exists() for run in runs):
            say("Taking in what has been decided ...")


def _on_signals(heard: Callable[[], None]) -> None:
    """An exception that a signal raises within a callback of the loop may be lost: the loop is to hear it itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored: whoever started us wants it so
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not the main thread
                asyncio.get_running_loop().add_signal_handler(number, heard)


def _opened(address: str) -> None:
    with contextlib.suppress(Exception):  # a machine without a browser is no reason to stop
        webbrowser.open(address)


def _remote() -> str:
    """USER@HOST as the person at the other end of an SSH connection reaches this machine; '' without one."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "USER"
    return f"{user}@{connection[2]}" if len(connection) == 4 else ""
