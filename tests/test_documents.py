"""Documents as they come: read with their structure, cut where it makes sense, each failure its own file's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from document_files import docx, epub, facts, lines_of, manual, pdf
from engine.cli.app import app
from engine.config.documents import DocumentsConfig
from engine.documents import process
from engine.documents.alike import Alike
from engine.documents.collection import collected
from engine.documents.cutting import cut
from engine.documents.document import Block, Document, Unreadable, assembled
from engine.documents.html import html_document
from engine.documents.junk import junk
from engine.documents.plain import markdown_document, text_document
from engine.documents.process import Reader
from engine.documents.shelf import Shelf
from engine.errors import ConfigError


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(30) as reader:
        yield reader


def shelf_of(*paths: Path, **settings: object) -> Shelf:
    return collected(DocumentsConfig(path=tuple(map(str, paths)), **settings))


# --- PDF -------------------------------------------------------------------------------------------


def test_a_pdf_has_its_text_pages_and_headings(tmp_path: Path, reader: Reader) -> None:
    said = facts(1, 90)
    pages = [
        ["Introduction" if n == 0 else f"{n} Chapter", *lines_of(" ".join(said[9 * n : 9 * n + 9]))]
        for n in range(10)
    ]
    outline = [(0, "Introduction"), *((n, f"{n} Chapter") for n in range(1, 10))]
    document = reader.read(pdf(tmp_path / "a.pdf", pages, outline=outline, running="The Pump Company"))
    assert "The Pump Company" not in document.text
    assert not re.search(r"- \d+ -", document.text)
    for number, sentence in enumerate(said):
        place = document.text.find(sentence)
        assert place >= 0, sentence
        assert document.page_of(place) == number // 9 + 1
    assert [heading.title for heading in document.headings] == [title for _, title in outline]
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)


def test_a_sentence_over_a_page_break_is_whole_and_on_both_pages(tmp_path: Path, reader: Reader) -> None:
    first = lines_of("The lid is opened with the long key, which is turned to the left " * 3)
    second = lines_of(
        "until it clicks twice and the light goes on. " + "Then all is well again with it. " * 8
    )
    document = reader.read(pdf(tmp_path / "a.pdf", [first, second]))
    place = document.text.find("to the left until it clicks")
    assert place >= 0
    assert document.page_of(place) == 1
    assert document.page_of(document.text.find("until it clicks")) == 2
    shelf = shelf_of(tmp_path / "a.pdf")
    passage = next(iter(shelf.passages()))
    assert passage.page == 1
    assert passage.page_at(passage.text.find("until it clicks")) == 2


def test_words_that_a_line_has_parted(tmp_path: Path, reader: Reader) -> None:
    text = [
        "The temperature counts, and so does the tempera-",
        "ture of the well-",
        "known oil in the tank below it.",
    ]
    document = reader.read(pdf(tmp_path / "a.pdf", [text]))
    assert "does the temperature of the well-known oil" in " ".join(document.text.split())
    parted = [
        line
        for n in range(20)
        for line in ("The temperature and the tempera-", f"ture of tank {n} are told.")
    ]
    document = reader.read(
        pdf(tmp_path / "b.pdf", [parted, ["Here begins the other page, with all its words."]])
    )
    assert document.page_of(document.text.find("Here begins")) == 2
    assert document.page_of(document.text.find("Here begins") - 2) == 1


@pytest.mark.parametrize(
    ("name", "reason", "way_out"),
    [
        ("scan.pdf", "scan", "ocrmypdf"),
        ("locked.pdf", "password", "without one"),
        ("broken.pdf", "broken", "damaged"),
        ("empty.pdf", "empty", "is empty"),
        ("page.pdf", None, ""),
        ("text.pdf", "wrong_kind", ".txt"),
        ("blank.pdf", "empty", "no text"),
        ("old.docx", "wrong_kind", ".docx"),
        ("cut.docx", "broken", "damaged"),
        ("cut.epub", "broken", "damaged"),
        ("latin.txt", "encoding", "iconv"),
        ("picture.txt", "wrong_kind", "ocrmypdf"),
        ("zip.docx", "wrong_kind", "unpack"),
        ("gone.txt", "unreadable", "No such file"),
    ],
)
def test_each_failure_is_named(
    name: str, reason: str | None, way_out: str, tmp_path: Path, reader: Reader
) -> None:
    path = tmp_path / name
    if name == "scan.pdf":
        pdf(path, [[], []], pictures=(0, 1))
    elif name == "locked.pdf":
        pdf(path, [["a secret"]], password="x")  # noqa: S106 - of a file that is to be refused
    elif name == "broken.pdf":
        path.write_bytes(pdf(tmp_path / "whole.pdf", [["words"] * 20]).read_bytes()[:300])
    elif name == "blank.pdf":
        pdf(path, [[]])
    elif name == "cut.docx":
        path.write_bytes(docx(tmp_path / "whole.docx").read_bytes()[:2000])
    elif name == "cut.epub":
        path.write_bytes(epub(tmp_path / "whole.epub", [("A", "text")]).read_bytes()[:200])
    elif name == "zip.docx":
        import zipfile

        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("a.txt", "words")
    else:
        data = {
            "empty.pdf": b"", "page.pdf": b"<!DOCTYPE html><html><body><p>Here are words.</p></body></html>",
            "text.pdf": b"only some words", "old.docx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500,
            "latin.txt": "Maß und Größe".encode("latin-1"), "picture.txt": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        }.get(name)  # fmt: skip
        if data is not None:
            path.write_bytes(data)
    if reason is None:
        assert reader.read(path).text == "Here are words."
        return
    with pytest.raises(Unreadable) as caught:
        reader.read(path)
    assert caught.value.reason == reason
    assert way_out in caught.value.said


def test_a_mixed_scan_says_which_pages_are_missing(tmp_path: Path, reader: Reader) -> None:
    path = pdf(tmp_path / "mixed.pdf", [lines_of(" ".join(facts(2, 9))), [], ["x"]], pictures=(1, 2))
    document = reader.read(path)
    assert "pages 2, 3 of 3 are pictures" in document.notes[0]
    assert "ocrmypdf" in document.notes[0]


def test_a_file_that_kills_or_holds_up_its_reader_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader of a file that hangs is ended after its time; the next file has a new one."""
    (tmp_path / "a.txt").write_text("Some words that can be read.")
    os.mkfifo(tmp_path / "pipe.txt")
    with Reader(30) as reader:
        assert reader.read(tmp_path / "a.txt").text
        reader._seconds = 0.5
        with pytest.raises(Unreadable) as caught:
            reader.read(tmp_path / "pipe.txt")
        assert caught.value.reason == "too_slow"
        reader._seconds = 30
        assert reader.read(tmp_path / "a.txt").text
        assert reader._process is not None
        reader._process.kill()
        with pytest.raises(Unreadable) as caught:
            reader.read(tmp_path / "a.txt")
        assert caught.value.reason == "crashed"
        assert reader.read(tmp_path / "a.txt").text
    monkeypatch.setattr(process, "MEMORY", 1 << 20)
    assert process._answer_to(tmp_path / "a.txt", _greedy)["reason"] == "too_large"


def _greedy(path: Path) -> Document:
    raise MemoryError


def test_a_missing_library_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(path: Path) -> Document:
        raise ImportError(name="pypdfium2")

    told = process._answer_to(tmp_path / "a.pdf", without)
    assert told["reason"] == "not_installed"
    (tmp_path / "a.md").write_text(manual(1, 2))

    def unreadable(self: Reader, path: Path) -> Document:
        raise Unreadable(told["reason"], told["said"])

    monkeypatch.setattr(Reader, "read", unreadable)
    with pytest.raises(ConfigError, match=r"pip install 'datagen-engine\[documents\]'"):
        shelf_of(tmp_path / "a.md")


# --- other formats ---------------------------------------------------------------------------------


def test_the_tables_of_word_are_rows_that_say_what_they_are(tmp_path: Path, reader: Reader) -> None:
    document = reader.read(docx(tmp_path / "a.docx"))
    assert [(each.level, each.title) for each in document.headings] == [
        (1, "Pump handbook"), (1, "Torques"), (1, "Storage"),
    ]  # fmt: skip
    rows = [document.text[start:end] for start, end in document.rows]
    assert rows[0] == "Part: Flange 1; Bolt: M5; Torque: 11 Nm"
    assert len(rows) == 60
    assert "- Keep it dry.\n- Keep it below 40 degrees." in document.text
    for start, end in cut(document, 600, 900):
        assert not any(row < place < row_end for row, row_end in document.rows for place in (start, end))


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path: Path, reader: Reader) -> None:
    document = reader.read(
        epub(
            tmp_path / "a.epub",
            [("Last", "It ends."), ("First", "It begins & goes on.".replace("&", "&amp;"))],
        )
    )
    assert [each.title for each in document.headings] == ["First", "Last"]
    assert document.text.index("It begins & goes on.") < document.text.index("It ends.")


def test_html_without_what_is_not_its_text() -> None:
    document = html_document(
        b"<html><head><script>evil()</script></head><body><nav><a href=a>Home</a></nav>"
        b"<header role=banner>Shop</header>"
        b"<main><h1>Pumps<a class=headerlink href=#x>\xc2\xb6</a></h1><p>A <b>pump</b>\n\nmoves <i>water</i>.<br>"
        b"Much of it.</p><ul><li>one<ul><li>inner</li></ul></li><li>two</li></ul>"
        b"<dl><dt>flow</dt><dd>litres a minute</dd></dl>"
        b"<table><tr><th>Part<th>Price</tr><tr><td>Seal<td>3</tr></table><pre>x = 1\n  y = 2</pre>"
        b"<p><a href=1>Next</a> <a href=2>Previous</a> <a href=3>Up</a> <a href=4>Contents</a></p>"
        b"<style>p {}</style></main><footer role=contentinfo>All rights</footer>"
    )
    assert document.text == (
        "Pumps\n\nA pump moves water.\nMuch of it.\n\n- one\n  - inner\n- two\n- flow: litres a minute\n\n"
        "Part: Seal; Price: 3\n\nx = 1\n  y = 2"
    )
    assert document.text[slice(*document.code[0])] == "x = 1\n  y = 2"


@pytest.mark.parametrize("encoding", ["iso-8859-1", "shift_jis", "utf-16", "utf-8", "windows-1252"])
def test_a_page_says_in_what_it_is_written(encoding: str) -> None:
    text = "水の重さ" if encoding == "shift_jis" else "Größe und Maß"
    page = f"<html><head><meta charset={encoding}></head><body><p>{text}</p><p hidden>no</p></body></html>"
    assert html_document(page.encode(encoding)).text == text
    unsaid = f"<p>{text}</p><p style='display: none'>no</p>"
    if encoding != "shift_jis":
        assert html_document(unsaid.encode(encoding)).text == text


def test_a_page_that_is_nested_without_end_is_read() -> None:
    page = "<div>" * 20_000 + "<p>deep down</p>" + "</div>" * 20_000 + "<p>after it</p>"
    assert html_document(page).text == "deep down\n\nafter it"


def test_lines_that_end_on_purpose_stay_lines() -> None:
    rows = "\n".join(f"{n},{n * 3},name {n}" for n in range(9))
    assert text_document(rows).text == rows
    words = " ".join(facts(1, 8))
    assert text_document("\n".join(lines_of(words))).text == words


def test_markdown_with_what_people_write_in_it() -> None:
    document = markdown_document(
        "---\ntitle: x\n---\n# One\n\nA [link](http://a.b) and ![picture](p.png).\nGoes on.\n\nTwo\n---\n\n- a\n- b\n  "
        "more\n"
        "1. c\n\n| k | v |\n|---|:-:|\n| a | 1 |\n| b \\| c | 2 |\n\n"
        "```python\n# no heading\n\nx = 1\n```\n\n<!-- gone -->\n***\nEnd."
    )
    assert document.text == (
        "One\n\nA link and picture. Goes on.\n\nTwo\n\n- a\n- b more\n- c\n\nk: a; v: 1\nk: b | c; v: 2\n\n"
        "# no heading\n\nx = 1\n\nEnd."
    )
    assert [(each.level, each.title) for each in document.headings] == [(1, "One"), (2, "Two")]


def test_markdown_quotes_and_tables_within_tables() -> None:
    assert markdown_document("> one\n> two\n>\n> > three\n").text == "one two\n\nthree"
    inner = "<table><tr><td>d</td><td>e</td></tr></table>"
    table = f"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>{inner}</td></tr>"
    assert html_document(f"{table}</table>").text == "a: b\nc: d e"


def test_text_with_underlined_headings_and_columns() -> None:
    document = text_document("Title\n=====\n\nFirst line\nsecond line.\n\nPart\n----\n\na   1\nb   2\n")
    assert document.text == "Title\n\nFirst line second line.\n\nPart\n\na   1\nb   2"
    assert [(each.level, each.title) for each in document.headings] == [(1, "Title"), (2, "Part")]


# --- cutting ---------------------------------------------------------------------------------------

SENTENCES = st.lists(
    st.text(st.sampled_from("abc éЖ漢😀,-"), min_size=1, max_size=80).map(lambda text: f"{text.strip() or 'x'}."),
    min_size=1, max_size=60,
)  # fmt: skip


@given(SENTENCES, st.integers(200, 900), st.floats(1, 2), st.randoms())
def test_nothing_is_lost_and_nothing_is_too_long(
    sentences: list[str], target: int, more: float, chance: object
) -> None:
    kinds = ["heading", "text", "item", "row", "code"]
    blocks = [Block(kinds[len(each) % 5], each, 1 if len(each) % 5 < 2 else 0) for each in sentences]
    document, most = assembled(blocks), int(target * more)
    spans = cut(document, target, most)
    assert all(0 < end - start <= most for start, end in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    kept = "".join(document.text[start:end] for start, end in spans)
    assert "".join(kept.split()) == "".join(document.text.split())


def test_passages_end_at_sentences_and_begin_at_headings() -> None:
    document = markdown_document(manual(3, 20, 14))
    spans = cut(document, 1200, 2000)
    pieces = [document.text[start:end] for start, end in spans]
    assert all(piece.rstrip().endswith(".") for piece in pieces)
    assert sum(piece.startswith("Chapter") for piece in pieces) == 20 - sum(
        piece.startswith("Manual") for piece in pieces
    )
    assert not any(re.search(r"Chapter \d+ of 3$", piece) for piece in pieces)


def test_a_text_without_any_end_is_cut_all_the_same() -> None:
    """As a million characters in one line, which a splitter at blank lines gives back in one piece."""
    document = text_document("word " * 200_000)
    spans = cut(document, 1200, 2000)
    assert len(spans) > 400
    assert all(document.text[end : end + 1] in (" ", "") for _, end in spans)


# --- what will do ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "headings", "why"),
    [
        ("1 Start ........ 3\n2 Middle ........ 14\n3 End ........ 27", [], "contents"),
        ("Introduction and all that follows from it.", ["Table of Contents"], "contents"),
        (
            "bolt, 3, 14, 22 flange, 7 gasket, 9-12 key, 4 lid, 33 motor, 12, 40 pump, 1, 2",
            ["Index"],
            "index",
        ),
        (
            "bolt: | Fastening\nflange: | Pipes\nlid: | Tanks\nkey: | Tools\nmotor: | Drives",
            ["D.4 Function Index"],
            "index",
        ),
        (
            "The index finger points at the lamp. It is lit while oil is low. Add some then, not more than that. "
            "Then wait for it.",
            ["Index"],
            "",
        ),
        ("Permission is hereby granted, free of charge. All rights reserved.", [], "legal"),
        ("Short.", [], "short"),
        (
            " ".join(map(str, range(1000, 1040))),
            [],
            "symbols",
        ),
        (" ".join(facts(4, 3)), ["Torques"], ""),
        ("水泵由布兰特于1950年制造，可承受三百公斤。每年检查一次密封圈。", [], ""),
        ("The contents of the tank are drained. " * 4, ["Draining the contents"], ""),
        (
            "Chapters 3, 4 and 5 speak of 12 pumps and 14 valves, which all need oil at 40 degrees. Take 2, then 3.",
            [],
            "",
        ),
    ],
)
def test_what_nothing_can_be_asked_from(text: str, headings: list[str], why: str) -> None:
    assert junk(text, headings) == why


def test_versions_of_one_manual_count_once() -> None:
    first, other = facts(5, 400), facts(6, 40)
    texts = [" ".join(first[10 * n : 10 * n + 10]) for n in range(40)]
    newer = [text.replace("bears", "can bear", 1) if n % 2 else text for n, text in enumerate(texts)]
    unlike = [" ".join(other[10 * n : 10 * n + 10]) for n in range(4)]
    every = list(enumerate([*texts, *newer, *unlike]))
    found = Alike(lambda number: every[number][1]).same(every)
    assert found == [None] * 40 + list(range(40)) + [None] * 4


def test_one_word_that_matters_among_few_keeps_passages_apart() -> None:
    one = "Turn the valve to the left, then wait for ten minutes before you open the lid of the boiler."
    other = "Turn the valve to the right, then wait for two hours before you close the door of the furnace."
    assert Alike(lambda number: [one, other][number]).same([(0, one), (1, other)]) == [None, None]


# --- a folder of them ------------------------------------------------------------------------------


def test_a_folder_with_good_and_bad_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text(manual(1, 3))
    (tmp_path / "b.md").write_text(manual(2, 3))
    (tmp_path / "copy.md").write_text(manual(2, 3))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "notes.xyz").write_text("not a document")
    pdf(tmp_path / "scan.pdf", [[]], pictures=(0,))
    shelf = shelf_of(tmp_path)
    files = {file.name: file for file in shelf.files()}
    assert sorted(files) == ["b.md", "copy.md", "empty.txt", "scan.pdf", "sub/a.md"]
    assert {name: file.reason for name, file in files.items() if file.reason} == {
        "empty.txt": "empty",
        "scan.pdf": "scan",
    }
    assert {passage.file for passage in shelf.passages()} == {"b.md", "sub/a.md"}
    repeated = [(p.text, same) for p, why, same in shelf.all_passages() if why == "repeats"]
    assert repeated
    assert all(shelf.text(same) == text for text, same in repeated if same is not None)
    for passage in shelf.passages():
        text = markdown_document((tmp_path / passage.file).read_text()).text
        assert text[passage.start : passage.end] == passage.text
    with pytest.raises(ConfigError, match=r"2 of 5 files cannot be read: empty.txt is empty"):
        shelf_of(tmp_path, unreadable="refuse")


def test_places_of_every_kind_and_names_that_tell_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.md").write_text(manual(len(folder) + ord(folder[0]), 2))
    names = [file.name for file in shelf_of(tmp_path / "one" / "a.md", tmp_path / "two").files()]
    assert names == ["one/a.md", "two/a.md"]
    assert [file.name for file in shelf_of(tmp_path / "*" / "a.md").files()] == ["one/a.md", "two/a.md"]
    for place, said in (("gone.pdf", "no such file"), ("*.pdf", "no file matches")):
        with pytest.raises(ConfigError, match=said):
            shelf_of(tmp_path / place)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="holds no document"):
        shelf_of(tmp_path / "none")


def test_no_passage_at_all_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Too short.")
    with pytest.raises(ConfigError, match="no passage will do: 1 short"):
        shelf_of(tmp_path / "a.txt")


# --- the command -----------------------------------------------------------------------------------


def test_the_command_shows_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(manual(1, 6))
    (tmp_path / "b.txt").write_bytes(b"M\xe4\xdf")
    (tmp_path / "out").mkdir()
    run = CliRunner().invoke(app, ["documents", str(tmp_path), "-o", str(tmp_path / "out" / "p.jsonl")])
    assert run.exit_code == 0, run.output
    for said in ("a.md", "b.txt", "items can be made from", "Shortest:", "Longest:", "Manual 1 > Chapter"):
        assert said in run.output
    assert run.output.count("Sample:") == 3
    rows = [orjson.loads(line) for line in (tmp_path / "out" / "p.jsonl").read_bytes().splitlines()]
    told = orjson.loads(CliRunner().invoke(app, ["documents", "--json", str(tmp_path)]).stdout)
    assert told["passages"] == len(rows) > 3
    assert told["unreadable"] == {"encoding": 1}
    every = CliRunner().invoke(app, ["documents", "--show", str(tmp_path)]).output
    assert all(row["text"].split("\n")[-1] in every for row in rows)


def test_the_command_refuses_in_a_sentence(tmp_path: Path) -> None:
    for arguments in (["gone.pdf"], [str(tmp_path)], ["--most", "300", "--target", "900", "x"]):
        run = CliRunner().invoke(app, ["documents", *arguments])
        assert run.exit_code == 2
        assert run.output.count("\n") == 1
