"""Documents of every kind, made by the libraries that people make theirs with."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

TOPICS = "pump valve filter sensor motor gasket boiler turbine bearing coupling".split()
MAKERS = "Abel Brandt Corelli Dumont Eriksen Fontana Grieg Halder Ivens Jansson".split()


def facts(seed: int, count: int) -> list[str]:
    """Sentences of which no two are the same, each with names and numbers of its own."""
    chance = random.Random(seed)
    return [
        f"The {chance.choice(TOPICS)} of type {chance.choice('KLMNPRT')}-{number + 100} was built by "
        f"{chance.choice(MAKERS)} in {chance.randint(1900, 2020)} and bears {chance.randint(10, 999)} kilograms."
        for number in range(count)
    ]


def manual(seed: int, chapters: int, each: int = 12) -> str:
    """A Markdown manual whose chapters have so many sentences."""
    said = facts(seed, chapters * each)
    parts = [f"# Manual {seed}\n"]
    for chapter in range(chapters):
        parts.append(f"## Chapter {chapter + 1} of {seed}\n")
        parts.append(" ".join(said[chapter * each : (chapter + 1) * each]) + "\n")
    return "\n".join(parts)


def pdf(
    path: Path,
    pages: Sequence[Sequence[str]],
    *,
    outline: Sequence[tuple[int, str]] = (),
    password: str = "",
    pictures: Sequence[int] = (),
    running: str = "",
) -> Path:
    """A PDF by reportlab: its lines by page; `outline` names pages, from 0. `running` heads each page, with a number at
    its foot. `pictures` are pages that are nothing but one.
    """
    from PIL import Image, ImageDraw
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    more: dict[str, Any] = {}
    if password:
        from reportlab.lib.pdfencrypt import StandardEncryption

        more["encrypt"] = StandardEncryption(password, strength=128)
    canvas = Canvas(str(path), pagesize=A4, invariant=1, **more)
    marks = dict(outline)
    for number, lines in enumerate(pages):
        if number in marks:
            canvas.bookmarkPage(f"p{number}")
            canvas.addOutlineEntry(marks[number], f"p{number}", 0)
        if running:
            canvas.drawString(72, 810, running)
            canvas.drawString(290, 30, f"- {number + 1} -")
        if number in pictures:
            image = Image.new("L", (600, 800), 255)
            ImageDraw.Draw(image).text((50, 50), "scanned words", fill=0)
            buffer = BytesIO()
            image.save(buffer, "PNG")
            canvas.drawImage(ImageReader(BytesIO(buffer.getvalue())), 60, 60, 400, 600)
        for place, line in enumerate(lines):
            canvas.drawString(72, 780 - 14 * place, line)
        canvas.showPage()
    canvas.save()
    return path


def lines_of(text: str, width: int = 80) -> list[str]:
    """The text in lines of at most so many characters, as a page has it."""
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def docx(path: Path) -> Path:
    """A Word document with headings, a list, and a table with a header, by python-docx."""
    from docx import Document

    document = Document()
    document.add_heading("Pump handbook", 0)
    document.add_heading("Torques", 1)
    document.add_paragraph("The bolts of the pump are tightened crosswise, in three rounds.")
    table = document.add_table(rows=1, cols=3)
    for cell, text in zip(table.rows[0].cells, ("Part", "Bolt", "Torque"), strict=True):
        cell.text = text
    for number in range(1, 61):
        cells = table.add_row().cells
        for cell, text in zip(
            cells, (f"Flange {number}", f"M{4 + number % 8}", f"{10 + number} Nm"), strict=True
        ):
            cell.text = text
    document.add_heading("Storage", 1)
    document.add_paragraph("Keep it dry.", style="List Bullet")
    document.add_paragraph("Keep it below 40 degrees.", style="List Bullet")
    document.save(str(path))
    return path


def epub(path: Path, chapters: Sequence[tuple[str, str]]) -> Path:
    """A book with (title, text) chapters, whose spine has fragments and blanks in its addresses."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("mimetype", "application/epub+zip")
        packed.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        items = "".join(
            f'<item id="c{n}" href="chapter%20{n}.xhtml#top" media-type="application/xhtml+xml"/>'
            for n in range(len(chapters))
        )
        spine = "".join(f'<itemref idref="c{n}"/>' for n in reversed(range(len(chapters))))
        packed.writestr(
            "OPS/book.opf",
            f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine></package>',
        )
        for number, (title, text) in enumerate(chapters):
            packed.writestr(
                f"OPS/chapter {number}.xhtml",
                f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{title}</title></head>'
                f"<body><h1>{title}</h1><p>{text}</p></body></html>",
            )
    return path
