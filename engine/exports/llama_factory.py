"""dataset_info.json, in which LLaMA-Factory looks up a dataset and its columns.

The keys come from the project's data/README.md: https://github.com/hiyouga/LLaMA-Factory/tree/main/data
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from engine.errors import ConfigError
from engine.files.writing import replacing

NAME = "dataset_info.json"
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_ALPACA = {"prompt": "instruction", "query": "input"}
_COLUMNS: dict[str, dict[str, Any]] = {
    "alpaca": {"formatting": "alpaca", "columns": {**_ALPACA, "response": "output"}},
    "alpaca-preference": {
        "formatting": "alpaca",
        "ranking": True,
        "columns": {**_ALPACA, "chosen": "chosen", "rejected": "rejected"},
    },
    "sharegpt": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": _TAGS,
    },
    "sharegpt-preference": {
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {
            "messages": "conversations",
            "chosen": "chosen",
            "rejected": "rejected",
        },
        "tags": _TAGS,
    },
    "sharegpt-kto": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "kto_tag": "label"},
        "tags": _TAGS,
    },
}
_WHERE_THERE = {"history": "history", "system": "system", "tools": "tools"}
"""Columns that only some files have."""


def register(path: Path, formatting: str) -> None:
    """Enters the file, by its stem, in the dataset_info.json beside it; other entries are kept.

    Raises ConfigError as `entries` does. Standard output and devices are not registered.
    """
    if not path.is_file():
        return
    registered = entries(path)
    entry = _COLUMNS[formatting]
    there = _columns_in(path)
    more = {ours: name for ours, name in _WHERE_THERE.items() if name in there}
    registered[path.stem] = {"file_name": path.name, **entry, "columns": {**entry["columns"], **more}}
    with replacing(path.parent / NAME) as file:
        file.write(orjson.dumps(registered, option=orjson.OPT_INDENT_2).decode() + "\n")


def _columns_in(path: Path) -> set[str]:
    """The columns of the file that was just written, whose rows stand on one line each."""
    there: set[str] = set()
    with path.open("rb") as file:
        for line in file:
            text = line.strip().rstrip(b",")
            if text.startswith(b"{"):
                there |= orjson.loads(text).keys()
    return there


def entries(path: Path) -> dict[str, Any]:
    """The entries of the dataset_info.json beside a file. Call this before the file is written.

    Raises ConfigError where it is not a valid dataset_info.json, or names another file by this one's stem.
    """
    place = path.parent / NAME
    if not place.exists():
        return {}
    try:
        registered = orjson.loads(place.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        registered = None
    if not isinstance(registered, dict):
        raise ConfigError(f"{place}: is no dataset_info.json of LLaMA-Factory; move it, or export elsewhere")
    named = registered.get(path.stem)
    if isinstance(named, dict) and named.get("file_name") not in (None, path.name):
        raise ConfigError(
            f"{place}: calls {named['file_name']} {path.stem!r} already; export under another name"
        )
    return registered
