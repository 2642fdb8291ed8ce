"""Exports a run's accepted items in one call, for programs."""

from __future__ import annotations

from pathlib import Path

from engine.config import RunConfig
from engine.exports.formats import export as written
from engine.exports.formats import form_of
from engine.exports.mixture import Wanted, mixture_of
from engine.files.send import written_to
from engine.store.folder import RunFolder


def export(
    folder: Path | str,
    path: Path | str,
    *,
    format: str | None = None,
    meta: bool = False,
    test: float = 0.0,
    originals: float = 0.0,
    seed: int = 0,
) -> int:
    """Writes the accepted items of a run to a file, a folder (`hf`) or an address; returns their number.

    `format` is by the path's ending where absent; `meta` keeps how each item came to be; `test` holds a share out,
    near-duplicates together; `originals` mixes base rows in. Raises ConfigError.
    """
    there = RunFolder.existing(Path(folder))
    config = RunConfig.load(there.config, lenient=True)
    form = format or form_of(str(path))
    wanted = Wanted(test, originals, seed=seed)
    with written_to(str(path)) as place, mixture_of(there, config, wanted, lambda _: None) as ready:
        return written(ready.splits, form, place, ready.fields, config.dataset.description, meta=meta)
