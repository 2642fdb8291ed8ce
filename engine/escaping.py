"""Somebody else's text where it must not act: inside a prompt, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def fenced(shown: Mapping[str, Any]) -> str:
    """A block of JSON that nothing inside it can end."""
    text = orjson.dumps(shown, default=str).decode().replace("`", "\\u0060")
    return f"```json\n{text}\n```"


def unfenced(text: str) -> str:
    """Somebody else's text without anything that opens or ends a fence."""
    return text.replace("```", "'''")


def printable(text: str) -> str:
    """Without what could steer a terminal: names and items are somebody else's text."""
    return "".join(mark if mark.isprintable() or mark in "\n\t" else "\ufffd" for mark in text)
