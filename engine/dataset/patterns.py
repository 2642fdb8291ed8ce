"""Regular expressions as servers can generate by them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|\{\d+,\}|.", re.DOTALL)
_BEYOND = re.compile(r"\(\?(?!:)|\\[bBDWSAZpPkK1-9]|[*+?}][?+]")
"""Look-around, back references, word boundaries, lazy and possessive repetition."""
_CLASSES: Mapping[str, str] = {r"\d": "0-9", r"\w": "A-Za-z0-9_", r"\s": " "}
_MOST = 40
"""Repetitions, where the expression names no end."""


def bounded(pattern: str) -> str | None:
    r"""The expression without classes that some servers lack, and finite; None if it cannot be written so.

    llama.cpp's grammars take only `^...$`, and neither `\d` nor `\w`; a repetition without an end is how weak
    models never come to one.
    """
    if (
        not pattern.startswith("^")
        or not re.search(r"(?<!\\)(?:\\\\)*\$$", pattern)
        or _BEYOND.search(pattern)
    ):
        return None
    return "".join(_plain(token) for token in _TOKEN.findall(pattern))


def _plain(part: str) -> str:
    if part in _CLASSES:
        return f"[{_CLASSES[part]}]"
    if part.startswith("["):
        return re.sub(r"\\[dws]", lambda match: _CLASSES[match[0]], part)
    if part in ("*", "+"):
        return f"{{{int(part == '+')},{_MOST}}}"
    if re.fullmatch(r"\{\d+,\}", part):
        return f"{part[:-1]}{max(_MOST, int(part[1:-2]))}}}"
    return part
