"""What the shell may complete: folders of runs, keys of the config, validators."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

_MOST = 200


def run_folders(incomplete: str) -> Iterator[str]:
    """Folders with a run below what is typed so far, and below `runs/`."""
    start = Path(incomplete)
    base = start if incomplete.endswith("/") else start.parent
    places = [base, *([Path("runs")] if not incomplete else [])]
    found = {
        str(each.parent)
        for place in places
        for pattern in ("run.db", "*/run.db", "*/*/run.db")
        for each in islice(place.glob(pattern), _MOST)
    }
    yield from sorted(each for each in found if each.startswith(incomplete))


def settings(incomplete: str) -> Iterator[str]:
    """KEY= for `--set`; the names of validators behind `validators=`."""
    key, equals, value = incomplete.partition("=")
    if equals:
        if key == "validators":
            from engine.config.installed import installed_validators

            yield from (f"{key}=[{name}]" for name in installed_validators() if f"[{name}]".startswith(value))
        return
    from engine.config.json_schema import keys

    yield from (f"{each}=" for each in keys() if each.startswith(key))


def configs(incomplete: str) -> Iterator[str]:
    """YAML files."""
    start = Path(incomplete)
    base = start if incomplete.endswith("/") or not incomplete else start.parent
    for each in sorted(base.glob("*")):
        shown = str(each)
        if shown.startswith(incomplete.removeprefix("./")) or not incomplete:
            if each.is_dir() and not each.name.startswith("."):
                yield f"{shown}/"
            elif each.suffix in (".yaml", ".yml"):
                yield shown
