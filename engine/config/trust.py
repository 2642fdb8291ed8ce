"""What code a config may make the engine run: only what the user has allowed, since configs come from anywhere."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def allowed_file() -> Path:
    """The user's own list of allowed functions, by the XDG rules; it need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "datagen" / "allowed-code"


def is_allowed(code: str, key: str, said: Collection[str]) -> bool:
    """Whether the user has allowed this function or command at `key`: on the command line, or in their own list.

    `said` are the keys that were set on the command line: what people type themselves needs no further word.
    """
    return key in said or code in _listed()


def _listed() -> frozenset[str]:
    try:
        lines = allowed_file().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(line.partition("#")[0].strip() for line in lines) - {""}
