"""Which reader a file needs, by what it holds rather than by its name; and its text."""

from __future__ import annotations

import re
from pathlib import Path

from engine.documents.document import Document, Unreadable

ENDINGS = ("pdf", "html", "htm", "xhtml", "docx", "epub", "md", "markdown", "rst", "txt", "text")
"""What a folder's files may end in; a file that is named itself may end in anything."""
READER_VERSION = 1
"""Changes with what comes of a file; part of a run's identity."""
_HEAD = 4096
MOST_TEXT = 1 << 28
"""Bytes of a text file or a page."""
_MARKUP = re.compile(
    rb"\s*(?:<!--.*?-->\s*)*(?:<\?xml[^>]*>\s*)?(?:<!doctype html|<html|<head|<body)", re.I | re.S
)
_OLD = {
    b"\xd0\xcf\x11\xe0": "is a Word file of before 2007, or another old Office file: save it as .docx",
    b"{\\rtf": "is RTF: save it as .docx",
    b"PK\x05\x06": "is an empty zip file",
    b"%!PS": "is PostScript: make a PDF of it (ps2pdf)",
    b"\x1f\x8b": "is packed by gzip: unpack it first",
}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF", b"BM")


def document_in(path: Path) -> Document:
    """Raises Unreadable, which says why and what to do; OSError where the file cannot be opened."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise Unreadable("empty", "is empty")
    document = _read(path, head)
    if not document.text.strip():
        raise Unreadable("empty", "holds no text")
    return document


def _read(path: Path, head: bytes) -> Document:
    ending = path.suffix.lower().lstrip(".")
    if b"%PDF-" in head[:1024]:
        from engine.documents.pdf import pdf_document

        return pdf_document(path)
    if head.startswith(b"PK\x03\x04"):
        return _packed(path, head)
    for mark, said in _OLD.items():
        if head.startswith(mark):
            raise Unreadable("wrong_kind", said)
    if head.startswith(_PICTURES):
        raise Unreadable("wrong_kind", "is a picture: make a PDF of it and put text under it (ocrmypdf)")
    if path.stat().st_size > MOST_TEXT:
        raise Unreadable("too_large", f"has more than {MOST_TEXT:,} bytes: split it")
    if _MARKUP.match(head.removeprefix(b"\xef\xbb\xbf")) or ending in ("html", "htm", "xhtml"):
        from engine.documents.html import html_document

        return html_document(path.read_bytes())
    if ending in ("pdf", "docx", "epub"):
        raise Unreadable("wrong_kind" if _is_text(head) else "broken", _odd(ending, head))
    text = decoded(path.read_bytes())
    from engine.documents.plain import markdown_document, text_document

    return markdown_document(text) if ending in ("md", "markdown") else text_document(text)


def _packed(path: Path, head: bytes) -> Document:
    from engine.documents.packed import epub_document, opened, word_document

    with opened(path) as packed:
        names = set(packed.namelist())
    if "word/document.xml" in names:
        return word_document(path)
    if "META-INF/container.xml" in names:
        return epub_document(path)
    raise Unreadable("wrong_kind", "is a zip file that holds neither a Word document nor a book: unpack it")


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and not any(byte < 9 for byte in head[:256])


def _odd(ending: str, head: bytes) -> str:
    if _is_text(head):
        return f"is text, and no .{ending}: name it .txt"
    return f"is damaged, or no .{ending}"


def decoded(data: bytes) -> str:
    """By the byte order mark, else as UTF-8. Raises Unreadable for others: guessing errs on short texts."""
    marks = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    encoding = next((name for mark, name in marks if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in data[:_HEAD]:
            raise Unreadable("wrong_kind", "is no text") from None
        raise Unreadable(
            "encoding", f"is not UTF-8 (byte {error.start}): convert it (iconv -f latin1 -t utf-8)"
        ) from None
    if "\0" in text:
        raise Unreadable("wrong_kind", "is no text: it holds zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")
