"""The question whether two answers mean the same, for cases that no rule can decide."""

from __future__ import annotations

from engine.protocols import Reply


class Same(Reply):
    """The wire's `same_answer`."""

    same: bool
