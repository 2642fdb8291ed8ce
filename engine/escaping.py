"""Makes foreign text harmless inside a prompt, on a terminal, on a page, in a spreadsheet."""

from __future__ import annotations

import json
import re
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


_ACTING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters but for line ends and tabs, terminal escapes, overrides of the direction of writing (Unicode TR 9,
which make a text read otherwise than it is), invisible tags, halves of characters."""


def printable(text: str) -> str:
    """The text with every character that acts instead of being seen in a visible form, such as <U+001B>."""
    return _ACTING.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def printable_json(text: str) -> str:
    """JSON that reads back the same, without such characters."""
    return _ACTING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def web_address(url: str) -> str:
    """The address of a page, if that is what it is; '' for a script, a file, or anything else that a link could run."""
    return url if re.fullmatch(r"https?://[^\s\x00-\x1f\"'<>\\^`{|}]+", url) else ""


_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""The start of a cell that a spreadsheet runs (OWASP, CSV Injection), or of one that `quoted_cell` has made of it."""


def quoted_cell(text: str) -> str:
    """A text for a CSV file: a quote goes before what a spreadsheet would run as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unquoted_cell(text: str) -> str:
    """The text of which `quoted_cell` has made this."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text
