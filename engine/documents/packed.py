"""DOCX and EPUB, which are zip files: what they hold as blocks."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from engine.documents.document import Block, Document, Unreadable, assembled
from engine.documents.html import html_blocks

MOST_UNPACKED = 1 << 28
"""Bytes that one file may hold unpacked: more is a bomb, or pictures that nobody reads."""
_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
p[style-name='Code'] => pre:separator('\\n')
p[style-name='Source Code'] => pre:separator('\\n')
p[style-name='HTML Preformatted'] => pre:separator('\\n')
"""


def opened(path: Path) -> zipfile.ZipFile:
    """Raises Unreadable for what is no zip file, or is a bomb."""
    try:
        packed = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise Unreadable("broken", f"is damaged: {error}") from None
    whole = sum(each.file_size for each in packed.infolist())
    if whole > MOST_UNPACKED:
        packed.close()
        raise Unreadable(
            "too_large", f"holds {whole:,} bytes unpacked; {MOST_UNPACKED:,} at most are read. Split it"
        )
    if any(each.flag_bits & 1 for each in packed.infolist()):
        packed.close()
        raise Unreadable("password", "is protected by a password: save it without one")
    return packed


def word_document(path: Path) -> Document:
    """A DOCX by mammoth, which keeps headings, lists and tables; pictures are left out."""
    import mammoth

    with opened(path) as packed:
        if "word/document.xml" not in packed.namelist():
            raise Unreadable("wrong_kind", "is a zip file, but holds no Word document")
    with path.open("rb") as file:
        made = mammoth.convert_to_html(file, convert_image=lambda image: [], style_map=_STYLES)
    return assembled(html_blocks(f"<html><body>{_with_headers(made.value)}</body></html>"))


def _with_headers(html: str) -> str:
    """Tables whose first row is none in Word's markup: it names the columns all the same, as people write them."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    for table in tree.css("table"):
        first = table.css_first("tr")
        if first is None or table.css_first("th") is not None or len(table.css("tr")) < 2:
            continue
        cells = [cell for cell in first.iter() if cell.tag == "td"]
        if len(cells) > 2 or all(cell.css_first("strong, b") is not None for cell in cells):
            row = LexborHTMLParser(
                "<table><tr>"
                + "".join(f"<th>{_escaped(cell.text(separator=' '))}</th>" for cell in cells)
                + "</tr></table>"
            ).css_first("tr")
            if row is not None:
                first.insert_before(row)
                first.decompose()
    return (tree.body.html if tree.body is not None else None) or html


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def epub_document(path: Path) -> Document:
    """An EPUB's chapters in the order of its spine."""
    with opened(path) as packed:
        names = set(packed.namelist())
        if "META-INF/encryption.xml" in names and b"fonts" not in packed.read("META-INF/encryption.xml"):
            raise Unreadable("password", "is encrypted (DRM): only its seller's programs can read it")
        return assembled(_chapters(packed, names))


def _chapters(packed: zipfile.ZipFile, names: set[str]) -> Iterator[Block]:
    try:
        container = _xml(packed.read("META-INF/container.xml"))
        rootfile = next(each for each in container.iter() if each.tag.endswith("rootfile"))
        root = rootfile.attrib["full-path"]
        package = _xml(packed.read(root))
    except (KeyError, StopIteration, ElementTree.ParseError, zipfile.BadZipFile) as error:
        raise Unreadable("broken", f"is no whole EPUB: {error}") from None
    hrefs, contents = {}, set()
    for each in package.iter():
        if each.tag.endswith("}item"):
            hrefs[each.attrib.get("id", "")] = each.attrib.get("href", "")
            if "nav" in each.attrib.get("properties", "").split():
                contents.add(each.attrib.get("id", ""))
    for each in package.iter():
        if not each.tag.endswith("}itemref") or each.attrib.get("idref") in contents:
            continue
        href = unquote(hrefs.get(each.attrib.get("idref", ""), "").partition("#")[0])
        name = posixpath.normpath(posixpath.join(posixpath.dirname(root), href)) if href else ""
        if name in names:
            yield from html_blocks(packed.read(name))


def _xml(data: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in data:
        raise ElementTree.ParseError("defines entities, which no book needs")
    return ElementTree.parse(BytesIO(data)).getroot()  # noqa: S314 - entities, by which it could grow, are refused
