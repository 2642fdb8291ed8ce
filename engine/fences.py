"""Somebody else's text inside a prompt: a block of JSON that nothing in it can end."""

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
