"""Writes a run's report.html from its folder alone."""

from __future__ import annotations

import contextlib
import sqlite3

from engine.config import RunConfig
from engine.files.writing import replacing
from engine.report.page.page import page
from engine.report.page.page_data import read_page_data
from engine.report.summary import Report
from engine.runs.modes import Mode
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_form


def write_page(folder: RunFolder, config: RunConfig, report: Report, mode: Mode) -> None:
    """Raises StoreError."""
    with contextlib.closing(connect(folder.database)) as connection:
        whole = page_of(folder, config, report, mode, connection)
    with replacing(folder.page) as file:
        file.buffer.write(whole)  # type: ignore[attr-defined]


def page_of(
    folder: RunFolder,
    config: RunConfig,
    report: Report,
    mode: Mode,
    connection: sqlite3.Connection,
) -> bytes:
    """The page."""
    fields = read_form(connection, config.item_fields)
    results = mode.results(connection, config)
    settings = folder.config.read_text("utf-8") if folder.config.exists() else ""
    page_data = read_page_data(connection, report, fields, settings, results, mode.summary(report.data))
    tables = mode.listings(connection, config, folder)
    title = folder.path.resolve().name
    return page(page_data, title, config.dataset.description, tables)
