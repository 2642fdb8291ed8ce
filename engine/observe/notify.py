"""A word to whoever is away when a start ends or stands still: a command, or a web hook."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from engine.config.observe import NotifyConfig
from engine.veil import veiled

_PATIENCE_S = 10.0
_TRIES = 3
_SHAPES = {
    "hooks.slack.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ntfy.sh": "ntfy",
}
_TITLES = {
    "target": "finished", "budget": "stopped at the cap", "attempts": "stopped: too few items are accepted",
    "fatal": "stopped by an error", "interrupted": "was interrupted", "stalled": "stands still",
}  # fmt: skip
_LONGEST = 1900
"""Characters: Discord takes 2,000."""


class Notifier:
    """Tells of endings that are wanted. What cannot be told is said, and changes nothing."""

    def __init__(self, config: NotifyConfig, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say

    async def tell(self, figures: Mapping[str, Any]) -> None:
        """`figures`: outcome, message, accepted, target, rejected, spent_usd, cap_usd, seconds, folder."""
        if figures["outcome"] not in self._config.when:
            return
        for name, way in (("command", self._command), ("webhook", self._post)):
            if getattr(self._config, name) is None:
                continue
            try:
                problem = await way(figures)
            except (OSError, aiohttp.ClientError, TimeoutError, subprocess.SubprocessError) as error:
                problem = f"{type(error).__name__}: {error}".removesuffix(": ")
            if problem:
                self._say(f"observe.notify.{name}: {veiled(problem)}")

    async def _command(self, figures: Mapping[str, Any]) -> str:
        named = {
            f"DATAGEN_{name.upper()}": "" if value is None else str(value) for name, value in figures.items()
        }
        process = await asyncio.create_subprocess_exec(
            *shlex.split(str(self._config.command)), env={**os.environ, **named, "DATAGEN_TEXT": text_of(figures)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_PATIENCE_S):
                _, err = await process.communicate()
        except TimeoutError:
            process.kill()
            return f"the command took more than {_PATIENCE_S:g} s and was ended"
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"the command ended with {process.returncode}: {''.join(last)}" if process.returncode else ""

    async def _post(self, figures: Mapping[str, Any]) -> str:
        address = str(self._config.webhook)
        body, headers = shaped(figures, shape_of(self._config.format, address))
        problem = ""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
            trust_env=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            for tried in range(_TRIES):
                if tried:
                    await asyncio.sleep(2.0**tried / 4)
                try:
                    async with session.post(
                        address, data=body, headers=headers, allow_redirects=False
                    ) as answer:
                        if answer.status < 300:
                            return ""
                        said = (await answer.content.read(200)).decode("utf-8", "replace")
                        problem = f"answered {answer.status}: {said}"
                        if answer.status < 500 and answer.status != 429:
                            break
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    problem = f"{type(error).__name__}: {error}".removesuffix(": ")
        return problem


def shape_of(given: str, address: str) -> str:
    """What is posted there."""
    host = (urlsplit(address).hostname or "").lower()
    return given if given != "auto" else _SHAPES.get(host, "json")


def text_of(figures: Mapping[str, Any]) -> str:
    """The outcome in a sentence."""
    money = "" if figures.get("spent_usd") is None else f", ${figures['spent_usd']:.4f}"
    why = f": {figures['message']}" if figures.get("message") and figures["outcome"] != "target" else ""
    return veiled(
        f"{figures['folder']} {_TITLES.get(figures['outcome'], figures['outcome'])}: "
        f"{figures['accepted']:,} of {figures['target']:,} items accepted{money}{why}"
    )[:_LONGEST]


def shaped(figures: Mapping[str, Any], shape: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers, as each of them documents it (Slack and Discord: incoming web hooks; ntfy: publishing)."""
    text, as_json = text_of(figures), {"Content-Type": "application/json"}
    if shape == "slack":
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return orjson.dumps({"text": escaped}), as_json
    if shape == "discord":
        return orjson.dumps({"content": text, "allowed_mentions": {"parse": []}}), as_json
    if shape == "ntfy":
        bad = figures["outcome"] in ("fatal", "stalled")
        tags = {"Title": "DataGen", "Priority": "high" if bad else "default",
                "Tags": "warning" if bad else "white_check_mark"}  # fmt: skip
        return text.encode(), {"Content-Type": "text/plain; charset=utf-8", **tags}
    told = {**figures, "text": text}
    return veiled(orjson.dumps(told).decode()).encode(), as_json
