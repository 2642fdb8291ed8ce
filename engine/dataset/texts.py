"""The texts of a row or an item, and the one by which it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.dataset.chats import spoken_by_user
from engine.dataset.forms import FieldProblem
from engine.dataset.pairs import said
from engine.dataset.paths import value_at


def text_of(row: Mapping[str, Any], path: str) -> str:
    """The text at a path of a row. Raises FieldProblem."""
    value = value_at(row, path)
    if value is None:
        raise FieldProblem("missing_field", f"field {path!r} is missing")
    if not isinstance(value, str):
        raise FieldProblem("wrong_type", f"field {path!r} is a {type(value).__name__}, not text")
    if not value.strip():
        raise FieldProblem("empty_text", f"field {path!r} is empty")
    return value.strip()


def known_by(parts: Mapping[str, Any]) -> str:
    """The text that an item of several parts is known and compared by: all its texts, or what the user says."""
    texts = [
        part for name, part in parts.items() if isinstance(part, str) and name not in ("chosen", "rejected")
    ]
    if "messages" in parts:
        texts.insert(0, spoken_by_user(parts["messages"]))
    if not any(texts):
        texts = [said(parts[name]) for name in ("chosen", "rejected") if name in parts]
    return "\n\n".join(filter(None, texts))
