"""Writes a run's report.html from its folder alone."""

from __future__ import annotations

import contextlib
import sqlite3

from engine.config import RunConfig
from engine.dataset.fields import Fields
from engine.dataset.forms import LabelStyle
from engine.evaluation.results import results_of
from engine.evaluation.tables import listings
from engine.report.page.gathered import gather
from engine.report.page.page import page
from engine.report.summary import Report
from engine.store.folder import RunFolder
from engine.store.files import replacing
from engine.store.reading import connect, read_fact


def write_page(folder: RunFolder, config: RunConfig, report: Report) -> None:
    """Raises StoreError."""
    with contextlib.closing(connect(folder.database)) as connection:
        pieces = page_of(folder, config, report, connection)
    with replacing(folder.page) as file:
        for piece in pieces:
            file.buffer.write(piece)  # type: ignore[attr-defined]


def page_of(
    folder: RunFolder, config: RunConfig, report: Report, connection: sqlite3.Connection
) -> list[bytes]:
    """The page, in pieces."""
    fields = Fields(config.dataset.fields, LabelStyle(**read_fact(connection, "style")))
    results = None
    if report.data["mode"] in ("evaluate", "judge"):
        names = [each.name for each in config.evaluate.datasets]
        results = results_of(connection, names, config.tested, config.evaluate.against)
    settings = folder.config.read_text("utf-8") if folder.config.exists() else ""
    found = gather(connection, report, fields, settings, results)
    title = folder.path.resolve().name
    return page(found, title, config.dataset.description, list(listings(results)) if results else [])
