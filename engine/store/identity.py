"""Whether two starts belong to the same run, and which settings differ between them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.config.dataset import OLD_KINDS
from engine.config.markers import ByContent, Operational, below, places


def identity(settings: Mapping[str, Any], contents: Mapping[str, str | None]) -> dict[str, Any]:
    """What two starts of one run must have in common: settings by dotted key, file digests in `contents`."""
    flat = dict(_flat({**settings, "model": _models(settings.get("model"))}, ()))
    kept = {key: value for key, value in flat.items() if not (_operational(key) or _by_content(key))}
    return {**kept, **contents}


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _models(model: Any) -> Any:
    """Reduces several endpoints to what they answer with: their number and order may change between starts.

    Endpoints that answer alike count as one.
    """
    if not isinstance(model, list):
        return model
    first, *others = model
    alike = {_answers_with(each) for each in (first, *others)}
    return (
        first
        if len(alike) == 1
        else {"any_of": "; ".join(sorted(alike)), "purposes": first.get("purposes", {})}
    )


def _answers_with(model: Mapping[str, Any]) -> str:
    flat = dict(_flat({"model": {**model, "purposes": {}}}, ()))
    kept = {key: value for key, value in flat.items() if not _operational(key)}
    return ", ".join(f"{key.removeprefix('model.')} {value}" for key, value in sorted(kept.items()) if value)


def differences(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    changed: Mapping[str, Any],
    unread: Sequence[str] = (),
) -> list[str]:
    """The keys that differ, each with both values.

    `changed` holds the settings that are not at their default; `unread` names sections to ignore.
    A key that the engine did not know when the run was started counts as equal while it is at its default.
    """
    before = _comparable(before)
    set_now = {key for key, _ in _flat({**changed, "model": _models(changed.get("model"))}, ())}
    named = []
    for key in sorted(before.keys() | now.keys()):
        if key.partition(".")[0] in unread:
            continue
        known = key in before or key in set_now or key not in now
        if known and before.get(key) != now.get(key):
            content = _by_content(key) or key.startswith("evaluate.datasets.")
            change = "the file's content" if content else f"{before.get(key)!r}, now {now.get(key)!r}"
            named.append(f"{key} ({change})")
    return named


_NO_LONGER = re.compile(r"(?:^|, )(?:response_format|send_seed) [^,;]*")


def _comparable(before: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded identity without what has become operational in the meantime."""
    kept = {key: value for key, value in before.items() if not _operational(key)}
    kind = kept.get("dataset.fields.label.kind")
    if kind in OLD_KINDS:
        kept["dataset.fields.label.kind"] = OLD_KINDS[kind]
    if isinstance(endpoints := kept.get("model.any_of"), str):
        kept["model.any_of"] = _NO_LONGER.sub("", endpoints)
    return kept


def _flat(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    pairs: Any = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    if not pairs:
        yield ".".join(keys), None if isinstance(value, Mapping | list) else value
    for key, inner in pairs:
        yield from _flat(inner, (*keys, str(key)))


@lru_cache(maxsize=16384)
def _operational(key: str) -> bool:
    return any(below(key.split("."), pattern) for pattern, _ in places(RunConfig, Operational))


@lru_cache(maxsize=16384)
def _by_content(key: str) -> bool:
    return any(below(key.split("."), pattern) for pattern, _ in places(RunConfig, ByContent))
