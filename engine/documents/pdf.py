"""PDF by pdfium: the text of each page as it stands, the outline, and why a file cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.documents.document import Document, Unreadable
from engine.documents.pages import Bookmark, document_of

_SPARSE = 100
"""Characters of a page that holds a picture; with fewer, the picture is likely to be the page."""
_HEAD = 1024
"""Bytes within which a PDF says that it is one."""
OCR = "put text under its pictures first: ocrmypdf --skip-text IN.pdf OUT.pdf"


def pdf_document(path: Path) -> Document:
    """Raises Unreadable for a file without text, with a password, or broken.

    pdfium is not thread-safe: of one process, one thread may call this.
    """
    import pypdfium2 as pdfium

    try:
        pdf = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise _refused(path, str(error)) from None
    try:
        texts: list[str] = []
        pictures: list[int] = []
        for number, (text, is_picture) in enumerate(_pages(pdf), 1):
            texts.append(text)
            if is_picture:
                pictures.append(number)
        said = sum(len(text.split()) for text in texts)
        if texts and not said:
            what = "is a scan: its pages are pictures" if pictures else "holds no text"
            raise Unreadable("scan" if pictures else "empty", f"{what}; {OCR}" if pictures else what)
        notes = [f"{_listed(pictures)} of {len(texts)} are pictures without text; {OCR}"] if pictures else []
        return document_of(texts, _outline(pdf), notes)
    finally:
        pdf.close()


def _pages(pdf: Any) -> Iterator[tuple[str, bool]]:
    """Each page's text, and whether it is likely to be a picture of text."""
    import pypdfium2 as pdfium

    for number in range(len(pdf)):
        try:
            page = pdf[number]
        except pdfium.PdfiumError:
            yield "", True
            continue
        try:
            inside = page.get_textpage()
            text = inside.get_text_range()
            inside.close()
            is_picture = len(text.strip()) < _SPARSE and _holds_picture(page)
            yield text, is_picture
        finally:
            page.close()


def _holds_picture(page: Any) -> bool:
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    return next(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None


def _outline(pdf: Any) -> list[Bookmark]:
    """The bookmarks with their pages, from 0; none where the outline is broken."""
    import pypdfium2 as pdfium

    found = []
    try:
        for each in pdf.get_toc():
            target = each.get_dest()
            page = target.get_index() if target is not None else None
            title = " ".join(each.get_title().replace("\0", "").split())
            if page is not None and title:
                found.append(Bookmark(page, each.level + 1, title))
    except (pdfium.PdfiumError, UnicodeError):
        return []
    return found


def _listed(pages: list[int]) -> str:
    first = ", ".join(map(str, pages[:8]))
    return f"page{'s' if len(pages) > 1 else ''} {first}{' and more' if len(pages) > 8 else ''}"


def _refused(path: Path, said: str) -> Unreadable:
    """pdfium says 'Data format error' of all that is no PDF; the file itself tells more."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if "password" in said.casefold():
        return Unreadable("password", "is protected by a password: save it without one (qpdf --decrypt)")
    if "security" in said.casefold():
        return Unreadable("password", "is protected by a scheme that cannot be opened: save it without one")
    if b"%PDF-" not in head:
        return Unreadable("wrong_kind", "is no PDF, whatever its name says")
    return Unreadable("broken", "is damaged: the file is cut off or its parts do not fit (qpdf may mend it)")
