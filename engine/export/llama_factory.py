"""dataset_info.json, in which LLaMA-Factory looks up a dataset and its columns.

The keys come from the project's data/README.md: https://github.com/hiyouga/LLaMA-Factory/tree/main/data
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from engine.errors import ConfigError
from engine.store.files import replacing

NAME = "dataset_info.json"
_COLUMNS: dict[str, dict[str, Any]] = {
    "alpaca": {
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output"},
    },
    "sharegpt": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    },
}


def register(path: Path, formatting: str) -> None:
    """Enters the file, by its stem, in the dataset_info.json beside it; other entries are kept.

    Raises ConfigError as `entries` does. Standard output and devices are not registered.
    """
    if not path.is_file():
        return
    registered = entries(path)
    registered[path.stem] = {"file_name": path.name, **_COLUMNS[formatting]}
    with replacing(path.parent / NAME) as file:
        file.write(orjson.dumps(registered, option=orjson.OPT_INDENT_2).decode() + "\n")


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
