"""Makes foreign text harmless inside a prompt and on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson


def fenced(shown: Mapping[str, Any]) -> str:
    """A fenced block of JSON whose content cannot close the fence."""
    text = orjson.dumps(shown, default=str).decode().replace("`", "\\u0060")
    return f"```json\n{text}\n```"


def unfenced(text: str) -> str:
    """Foreign text without anything that opens or closes a fence."""
    return text.replace("```", "'''")


def printable_json(text: str) -> str:
    """JSON that reads back the same, without characters that could control a terminal."""
    return "".join(mark if mark.isprintable() or mark == "\n" else json.dumps(mark)[1:-1] for mark in text)


def printable(text: str) -> str:
    """The text without characters that could control a terminal: names and items are foreign text."""
    return "".join(mark if mark.isprintable() or mark in "\n\t" else "\ufffd" for mark in text)
