"""The command that rescues a run whose journal is damaged: `repair`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.arguments import RunDir
from engine.cli.common import mistakes, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.store.repair import Rescue


def repair(run_dir: RunDir) -> None:
    """Rescue what can be read of a run whose run.db is damaged; the damaged file is kept."""
    from engine.errors import ConfigError
    from engine.store.folder import RunFolder
    from engine.store.repair import repair

    with mistakes():
        folder = RunFolder(run_dir)
        if not folder.database.exists() and not folder.accepted.exists():
            raise ConfigError(f"{run_dir}: holds no run (there is no run.db)")
        with folder.locked():
            for line in _lines(repair(folder), run_dir):
                say(line)


def _lines(rescue: Rescue, run_dir: Path) -> Iterator[str]:
    """What was done, in numbers."""
    if rescue.whole:
        yield f"{run_dir}: nothing is damaged."
        return
    kept = rescue.kept
    yield (
        f"Rescued {kept.get('items', 0):,} items and {kept.get('calls', 0):,} answers of models; "
        f"{rescue.from_files:,} of the items from accepted.jsonl and rejected.jsonl alone."
    )
    for table, count in rescue.damaged.items():
        yield f"Lost: {count:,} rows of the table {table}, which are not what was written."
    if rescue.unread:
        yield f"Lost: a part of {', '.join(rescue.unread)} that cannot be read."
    yield f"The damaged journal is kept as {rescue.set_aside}."
    if rescue.to_ask_again:
        yield f"A resume decides {rescue.to_ask_again:,} batches again, and pays for what is lost of them."
    if rescue.can_resume:
        yield f"Continue: datagen resume {run_dir}"
    else:
        yield f"Its config.yaml is lost, so it cannot be resumed. Its items: datagen export {run_dir} -o PATH"
