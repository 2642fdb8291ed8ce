"""A run's report as its journal has it now: read by whoever looks, written again after people have decided."""

from __future__ import annotations

import contextlib

from engine.config import RunConfig
from engine.files.writing import replacing
from engine.report.summary import Report, summarize
from engine.store.folder import RunFolder
from engine.store.reading import connect


def read_report(folder: RunFolder) -> tuple[Report, bool]:
    """The present report, and whether a process is using the folder. Raises ConfigError, StoreError."""
    config = RunConfig.load(folder.config, lenient=True)
    running = folder.in_use()
    with contextlib.closing(connect(folder.database)) as connection:
        target, cap = config.generate.target or 0, config.limits.budget_usd
        return summarize(connection, target=target, cap_usd=cap, running=running), running


def write_report(folder: RunFolder) -> Report:
    """Writes report.json anew, for a run that is not running. Raises ConfigError, StoreError."""
    report, _ = read_report(folder)
    with replacing(folder.report) as file:
        file.write(report.to_json() + "\n")
    return report
