"""HTML as blocks: headings, paragraphs, lists, tables, code; what is not the page's own text is left out.

selectolax (lexbor) parses as browsers do, so that broken markup is read as people see it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from engine.documents.document import Block, Document, assembled, table_rows

_LEFT_OUT = frozenset(
    "script style noscript template nav aside form button select option svg canvas iframe object head audio video "
    "map math-template dialog menu".split()
)
"""Elements that hold nothing that the document says."""
_FURNITURE = frozenset(("banner", "navigation", "search", "contentinfo", "complementary"))
"""ARIA roles of the same kind."""
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    "address article blockquote body center dd details div dl dt fieldset figcaption figure footer header hr html "
    "li main ol p pre section summary table ul h1 h2 h3 h4 h5 h6".split()
)
_CELLS = ("td", "th")
_LINKS, _LINKED, _LINKED_WORDS = 4, 0.8, 0.6
"""So many links that are so much of a list, or of a line, and it is navigation."""
_BREAK = "\v"
"""A break of the line, which the text has where HTML says so, and nowhere else."""
_ANCHORS = " \u00b6#\u00a7\U0001f517"
"""Signs by which a heading or a term links to itself."""
_DEEPEST = 150
"""Elements within one another: deeper ones are read as the text of the one at this depth."""


def html_document(data: bytes | str) -> Document:
    """The document in the page's main part, or in all of it where none is marked."""
    return assembled(html_blocks(data))


def html_blocks(data: bytes | str, base: int = 0) -> Iterator[Block]:
    """`base`: levels that lie above the page's own headings."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(data if isinstance(data, str) else _decoded(data))
    if tree.body is None:
        return
    mains = tree.css("main, [role=main]")
    root = mains[0] if len(mains) == 1 and len(mains[0].text()) * 2 > len(tree.body.text()) else tree.body
    for block in _blocks(root, 0, 0):
        yield block._replace(level=block.level + base) if block.kind == "heading" else block


def _decoded(data: bytes) -> str:
    """By the byte order mark, else as the page itself says, else UTF-8; what is none of them is read as browsers do."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    named = _CHARSET.search(data, 0, _PRESCANNED)
    for encoding in (named[1].decode("ascii") if named is not None else "", "utf-8"):
        with contextlib.suppress(LookupError, UnicodeDecodeError):
            if encoding:
                return data.decode(encoding)
    return data.decode("cp1252", "replace")


_CHARSET = re.compile(rb"(?:charset\s*=|encoding\s*=)\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_PRESCANNED = 4096
"""Bytes within which a page names its encoding."""
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def _blocks(node: Any, depth: int, nested: int) -> Iterator[Block]:
    """The blocks within an element; text between its block elements is a paragraph."""
    running: list[str] = []
    for child in node.iter(include_text=True):
        tag = child.tag
        if tag == "-text":
            running.append(child.text_content or "")
        elif tag in _LEFT_OUT or (child.attributes or {}).get("role") in _FURNITURE or _is_hidden(child):
            continue
        elif tag == "br":
            running.append(_BREAK)
        elif depth < _DEEPEST and (tag in _BLOCKS or _holds_blocks(child)):
            yield from _paragraph(running)
            yield from _block(child, tag, depth + 1, nested)
        else:
            running.append(_inline(child) if depth < _DEEPEST else child.text())
    yield from _paragraph(running)


def _block(node: Any, tag: str, depth: int, nested: int) -> Iterator[Block]:
    if tag in _HEADINGS:
        yield Block("heading", _own(_spaced(_inline(node))), _HEADINGS[tag])
    elif tag == "pre":
        yield Block("code", node.text().strip("\n").rstrip())
    elif tag == "table":
        yield from _table(node, depth, nested)
    elif tag in ("ul", "ol", "dl"):
        if not _is_navigation(node, _LINKED):
            yield from _list(node, depth, nested)
    elif tag not in ("p", "div") or _holds_blocks(node) or not _is_navigation(node, _LINKED_WORDS):
        yield from _blocks(node, depth, nested)


def _list(node: Any, depth: int, nested: int) -> Iterator[Block]:
    """Items; a term stands before its definition, on one line."""
    term = ""
    for child in node.iter():
        if child.tag == "dt":
            term = ", ".join(filter(None, (term, _own(_spaced(_inline(child))))))
            continue
        if child.tag not in ("li", "dd"):
            yield from _block(child, child.tag, depth + 1, nested)
            continue
        for place, block in enumerate(_blocks(child, depth + 1, nested + 1)):
            if place or block.kind != "text":
                yield block
            else:
                yield Block("item", f"{term}: {block.text}" if term else block.text, nested)
                term = ""
    if term:
        yield Block("item", term, nested)


def _table(node: Any, depth: int, nested: int) -> Iterator[Block]:
    """Rows of a table of data. One that lays out the page is read as what it holds."""
    rows = [row for row in node.css("tr") if _table_of(row) == node.mem_id]
    cells = [[cell for cell in row.iter() if cell.tag in _CELLS] for row in rows]
    inner = "h1, h2, h3, h4, pre" if len(rows) > 1 else "table, h1, h2, h3, h4, pre"
    layout = any(cell.css_first(inner) is not None for row in cells for cell in row)
    if layout or max((len(row) for row in cells), default=0) < 2:
        for row in cells:
            for cell in row:
                yield from _blocks(cell, depth + 1, nested)
        return
    caption = node.css_first("caption")
    if caption is not None:
        yield from _paragraph([_inline(caption)])
    first = cells[0] if cells else []
    header = bool(first) and (
        all(cell.tag == "th" for cell in first)
        or (rows[0].parent is not None and rows[0].parent.tag == "thead")
    )
    for line in table_rows([_across(row) for row in cells], header):
        yield Block("row", line)


def _across(row: list[Any]) -> list[str]:
    """The texts of a row's cells; one that spans several columns stands in each of them."""
    texts: list[str] = []
    for cell in row:
        span = (cell.attributes or {}).get("colspan") or "1"
        texts += [_spaced(cell.text(separator=" "))] * (min(int(span), 50) if span.isdecimal() else 1)
    return texts


def _table_of(row: Any) -> Any:
    parent = row.parent
    while parent is not None and parent.tag != "table":
        parent = parent.parent
    return parent.mem_id if parent is not None else None


def _inline(node: Any) -> str:
    """The text of an inline element, without what is left out within it."""
    if node.tag == "br":
        return _BREAK
    parts = []
    for child in node.iter(include_text=True):
        if child.tag == "-text":
            parts.append(child.text_content or "")
        elif child.tag not in _LEFT_OUT:
            parts.append(_inline(child) if child.css_first("br, script, style, svg") else child.text())
    return "".join(parts)


def _paragraph(running: list[str]) -> Iterator[Block]:
    text = "\n".join(filter(None, map(_spaced, "".join(running).split(_BREAK)))) if running else ""
    running.clear()
    if text:
        yield Block("text", text)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _holds_blocks(node: Any, within: int = 3) -> bool:
    """Whether a block element stands in it, or in an inline element of it."""
    return any(
        child.tag in _BLOCKS
        or (within > 0 and child.tag not in _LEFT_OUT and _holds_blocks(child, within - 1))
        for child in node.iter()
    )


def _is_hidden(node: Any) -> bool:
    attributes = node.attributes or {}
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or _INVISIBLE.search(attributes.get("style") or "") is not None
    )


def _own(text: str) -> str:
    return text if text.endswith(("C#", "F#")) else text.rstrip(_ANCHORS)


def _is_navigation(node: Any, share: float) -> bool:
    """Whether so much of what it says are links."""
    links = node.css("a[href]")
    whole = len("".join(node.text().split()))
    return len(links) >= _LINKS and sum(len("".join(a.text().split())) for a in links) >= share * whole
