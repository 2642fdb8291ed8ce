"""Markdown, reStructuredText and plain text as blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engine.documents.document import Block, Document, assembled, table_rows

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_ITEM = re.compile(r"(\s*)(?:[-*+•]|\d{1,3}[.)])[ \t]+(?=\S)")
_QUOTED = re.compile(r"^(?: {0,3}> ?)+")
_RULE = re.compile(r"\s*(?:\|?\s*:?-{1,}:?\s*)+\|?\s*$")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_FRONT = re.compile(r"---\s*\n.*?\n(?:---|\.\.\.)\s*\n", re.DOTALL)
_MARKUP = re.compile(
    r"!\[([^\]\n]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)|\[([^\]\n]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(
    r"</?(?:a|b|i|em|strong|p|div|span|img|center|sup|sub|details|summary|kbd)(?:\s[^<>]*)?/?>|<br\s*/?>"
)


def markdown_document(text: str) -> Document:
    """CommonMark's blocks and GitHub's tables; emphasis stays as it is written, links are their texts."""
    return assembled(
        _markdown(_COMMENT.sub("", _FRONT.sub("", text, count=1) if text.startswith("---") else text))
    )


def _markdown(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    place, running = 0, list[str]()
    while place < len(lines):
        line = lines[place] = _QUOTED.sub("", lines[place])
        if (fence := _FENCE.match(line)) is not None:
            yield from _flushed(running)
            end = next((n for n in range(place + 1, len(lines)) if _closes(lines[n], fence[1])), len(lines))
            yield Block("code", "\n".join(lines[place + 1 : end]).strip("\n"))
            place = end + 1
        elif (atx := _ATX.match(line)) is not None:
            yield from _flushed(running)
            yield Block("heading", _bare(atx[2] or ""), len(atx[1]))
            place += 1
        elif running and len(running) == 1 and (under := _SETEXT.match(line)) and not _ITEM.match(running[0]):
            yield Block("heading", _bare(running.pop().strip()), 1 if under[1][0] == "=" else 2)
            place += 1
        elif (
            "|" in line
            and place + 1 < len(lines)
            and "-" in lines[place + 1]
            and _RULE.match(lines[place + 1])
        ):
            yield from _flushed(running)
            end = next((n for n in range(place + 2, len(lines)) if "|" not in lines[n]), len(lines))
            rows = [_cells(line), *map(_cells, lines[place + 2 : end])]
            yield from (Block("row", _bare(row)) for row in table_rows(rows, True))
            place = end
        elif (line.startswith(("    ", "\t"))) and not running and not _ITEM.match(line) and line.strip():
            end = next(
                (n for n in range(place, len(lines)) if lines[n].strip() and not _indented(lines[n])),
                len(lines),
            )
            yield Block("code", "\n".join(lines[place:end]).rstrip())
            place = end
        else:
            if not line.strip() or (_ITEM.match(line) and running):
                yield from _flushed(running)
            if line.strip() and not _thematic(line):
                running.append(line)
            place += 1
    yield from _flushed(running)


def _thematic(line: str) -> bool:
    bare = line.replace(" ", "")
    return len(bare) >= 3 and len(set(bare)) == 1 and bare[0] in "-*_"


def _indented(line: str) -> bool:
    return line.startswith(("    ", "\t"))


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and set(bare) == {fence[0]}


def _cells(line: str) -> list[str]:
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _flushed(running: list[str]) -> Iterator[Block]:
    if not running:
        return
    item = _ITEM.match(running[0])
    text = _bare(" ".join(" ".join(running).split()))
    running.clear()
    if item is None:
        yield Block("text", text)
    else:
        yield Block("item", _ITEM.sub("", text, count=1), len(item[1].expandtabs(4)) // 2)


def _bare(text: str) -> str:
    """Without the addresses of links and the tags of HTML, which say nothing."""
    return _TAG.sub("", _MARKUP.sub(lambda match: match[1] or match[2] or "", text))


def text_document(text: str) -> Document:
    """Paragraphs by blank lines; lines that are underlined, as reStructuredText has it, are headings.

    A text without blank lines has a paragraph on each line that ends a sentence.
    """
    return assembled(_paragraphs(text))


def _paragraphs(text: str) -> Iterator[Block]:
    levels: dict[str, int] = {}
    for paragraph in re.split(r"\n[ \t\f\v]*\n", text.replace("\f", "\n\n")):
        lines = [line.rstrip() for line in paragraph.split("\n") if line.strip()]
        while len(lines) >= 2 and (under := _heading_in(lines)) is not None:
            title, mark, count = under
            yield Block("heading", title, levels.setdefault(mark, len(levels) + 1))
            lines = lines[count:]
        if lines:
            yield from _of_lines(lines)


def _heading_in(lines: Sequence[str]) -> tuple[str, str, int] | None:
    """(title, kind of underline, lines that it takes) where the first lines are a heading."""
    over = _UNDERLINE.match(lines[0])
    if over is not None and len(lines) >= 3 and lines[2].strip() == lines[0].strip():
        return lines[1].strip(), f"{over[1]}{over[1]}", 3
    under = _UNDERLINE.match(lines[1])
    if under is not None and over is None and len(lines[1].strip()) >= min(len(lines[0].strip()), 200) - 1:
        return lines[0].strip(), under[1], 2
    return None


_COLUMNS = re.compile(r"\S(?:\t| {3,})\S")
_LONG = 120
"""Characters: lines that are longer have not been broken by hand."""


def _is_laid_out(lines: Sequence[str]) -> bool:
    """Whether lines end where they do on purpose, as rows, verses or names do: text that was broken fills its lines."""
    lengths = sorted(map(len, lines[:-1]))
    return len(lines) > 3 and (lengths[-1] < _NARROW or lengths[len(lengths) // 2] < _FILLED * lengths[-1])


_NARROW, _FILLED = 45, 0.6
"""Characters of the longest line, and the share of it that half of the lines have, in text that was broken by hand."""


def _of_lines(lines: Sequence[str]) -> Iterator[Block]:
    if all(_ITEM.match(line) or _indented(line) for line in lines) and _ITEM.match(lines[0]):
        running: list[str] = []
        for line in lines:
            if _ITEM.match(line):
                yield from _flushed(running)
            running.append(line)
        yield from _flushed(running)
    elif all(map(_indented, lines)) or any(_COLUMNS.search(line.strip()) for line in lines[1:]):
        yield Block("code", "\n".join(lines))  # laid out by hand: columns, examples
    elif _is_laid_out(lines):
        yield Block("text", "\n".join(lines))
    elif any(len(line) > _LONG for line in lines):
        yield from (Block("text", " ".join(line.split())) for line in lines)
    else:
        yield Block("text", " ".join(" ".join(lines).split()))
