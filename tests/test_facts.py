"""Facts are checked against what was found; what was not found is never called supported."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from conftest import PUBLISHED, Configs, Start, lines, needs_published, run_in
from engine.conformance import check_validator, item, tools_for
from engine.errors import RetrieverUnavailable
from engine.items import Decision, Prompt
from engine.protocols import Evidence
from engine.simulator.content.facts import relations
from engine.simulator.truth import is_right
from validators.facts.check import FactCheck
from validators.facts.local import Local, LocalOptions
from validators.facts.mediawiki import MediaWiki, MediaWikiOptions
from validators.facts.paragraphs import LONGEST, Paragraphs, split
from validators.facts.titles import Titles, folded, normal
from validators.facts.wiki_api import Gathered, Unanswered, page_of, plain_text
from validators.facts.zim import Zim, ZimOptions

# --- ranking and titles ----------------------------------------------------------------------------


@given(st.lists(st.text(max_size=300), max_size=8))
def test_splitting_loses_no_word(blocks: list[str]) -> None:
    text = "\n\n".join(blocks)
    pieces = list(split(text))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(len(piece) <= LONGEST for piece in pieces)


def test_the_paragraph_that_bears_on_the_claim_comes_first() -> None:
    filler = "The city lies on a river and has many parks, museums and theatres. " * 10
    text = f"{filler}\n\nIn 1889 the iron tower was opened by the engineer Eiffel. {filler}\n\n{filler}"
    paragraphs = Paragraphs()
    paragraphs.add([(Evidence("Paris", ""), text), (Evidence("Lyon", ""), filler)])
    assert "1889" in paragraphs.best("When was the tower opened?", 1, ["Paris"])[0].text
    assert paragraphs.best("When was the tower opened?", 3, ["Nowhere"]) == []
    assert "1889" in paragraphs.best("tower Eiffel", 1)[0].text
    assert paragraphs.best('"; DROP TABLE found; -- " NEAR( * ^', 2, ["Lyon"])


def test_titles_are_found_however_they_are_written() -> None:
    titles = Titles()
    titles.add(["Paris", "Paris (Texas)", "C++", "Beyoncé", "Normandy landings", "Oxygen", "United States"])
    for written, title in {
        "paris": "Paris", "Paris (Texas)": "Paris (Texas)", "beyonce": "Beyoncé", "oxigen": "Oxygen",
        "United_States": "United States", "the united states": "United States",
        "landings normandy": "Normandy landings",
        "Nothing like it": None, "": None, '"': None,
    }.items():  # fmt: skip
        assert titles.find(written) == title, written
    assert normal(" foo_bar#part ") == "Foo bar"
    assert folded("Café (band)") == "cafe"


# --- local documents -------------------------------------------------------------------------------


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Articles on what the simulated endpoint asks about."""
    path = tmp_path / "documents.jsonl"
    about: dict[str, list[str]] = {}
    for relation in relations():
        for subject, value in relation.pairs.items():
            about.setdefault(subject, []).append(f"Of {subject}, the {relation.name} is {value}.")
    path.write_bytes(b"\n".join(orjson.dumps({"title": s, "text": " ".join(t)}) for s, t in about.items()))
    return path


async def test_local_files_of_every_kind(tmp_path: Path) -> None:
    rows = [{"title": "Oxygen", "text": "Oxygen is the element with atomic number 8."}]
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps(rows[0]))
    (tmp_path / "a.csv").write_text("title,text\nOxygen,Oxygen is the element with atomic number 8.\n")
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "Oxygen.txt").write_text(rows[0]["text"])
    for place in ("a.jsonl", "a.csv", "a.parquet", "folder"):
        async with Local(LocalOptions(path=tmp_path / place)) as local:
            [found] = await local.retrieve([("oxygen", "atomic number")], 3)
            assert [(passage.title, passage.source) for passage in found] == [("Oxygen", "local")], place
    (tmp_path / "broken.jsonl").write_text('{"title": 1}')
    with pytest.raises(RetrieverUnavailable, match="has no text"):
        async with Local(LocalOptions(path=tmp_path / "broken.jsonl")):
            pass
    with pytest.raises(ValueError, match="does not exist"):
        Local(LocalOptions(path=tmp_path / "nowhere"))


@needs_published
async def test_evidence_holds_the_answer() -> None:
    questions = [
        orjson.loads(line)
        for line in (PUBLISHED / "wikipedia" / "squad-questions.jsonl").read_bytes().splitlines()[::10]
    ]
    async with Local(LocalOptions(path=PUBLISHED / "wikipedia" / "wikipedia-slice.jsonl")) as local:
        for entity, share in (("title", 0.93), (None, 0.91)):
            wanted = [(question[entity] if entity else "", question["question"]) for question in questions]
            found = await local.retrieve(wanted, 3)
            held = [
                any(answer in passage.text for passage in passages for answer in question["answers"])
                for passages, question in zip(found, questions, strict=True)
            ]
            assert sum(held) >= share * len(held)


async def test_a_zim_file(tmp_path: Path) -> None:
    pytest.importorskip("libzim")
    from libzim.writer import Creator, Hint, Item, StringProvider

    class Article(Item):  # type: ignore[misc]
        def __init__(self, title: str, html: str) -> None:
            super().__init__()
            self.title, self.html = title, html

        def get_path(self) -> str:
            return self.title.replace(" ", "_")

        def get_title(self) -> str:
            return self.title

        def get_mimetype(self) -> str:
            return "text/html"

        def get_contentprovider(self) -> Any:
            return StringProvider(self.html)

        def get_hints(self) -> Any:
            return {Hint.FRONT_ARTICLE: True}

    path = tmp_path / "small.zim"
    with Creator(path).config_indexing(True, "eng") as creator:
        creator.set_mainpath("Oxygen")
        filler = "<p>" + "It is found in the air and in many places. " * 20 + "</p>"
        creator.add_item(
            Article(
                "Oxygen", f"<h1>Oxygen</h1>{filler}<p>It has the <b>number 8</b>.<sup>[1]</sup></p>{filler}"
            )
        )
        creator.add_item(
            Article("United States", "<p>It has 50 states.</p><table><tr><td>x</td></tr></table>")
        )
    async with Zim(ZimOptions(path=path)) as zim:
        found = await zim.retrieve([("oxygen", "which number"), ("united states", "x"), ("Nothing", "x")], 1)
        assert [passages[0].title if passages else None for passages in found] == [
            "Oxygen",
            "United States",
            None,
        ]
        assert "It has the number 8." in found[0][0].text
        assert found[1][0].text == "It has 50 states."
    broken = tmp_path / "broken.zim"
    broken.write_bytes(b"no")
    with pytest.raises(RetrieverUnavailable, match="cannot be read"):
        async with Zim(ZimOptions(path=broken)):
            pass


# --- a wiki ----------------------------------------------------------------------------------------

REDIRECTS = {"US": "United States", "Broken": "Gone", "Loop": "Loop"}


class Wiki:
    """A server that answers as api.php does, and fails as told. Mutable state: what was asked for."""

    def __init__(self) -> None:
        self.pages = {
            "Oxygen": "'''Oxygen''' is a [[chemical element]] with [[atomic number|number]] 8.{{ref}}",
            "United States": "The '''United States''' has 50 states.<ref>x</ref>",
            "C": "'''C''' is a letter.",
            "Mercury": "'''Mercury''' may refer to:\n* [[Mercury (planet)]]\n* [[Mercury (element)]]",
            "Mercury (planet)": "Mercury is the planet nearest to the Sun. Mercury has no moon.",
            "A|B": "A page whose name has a bar.",
        }
        self.asked: list[list[str]] = []
        self.faults: list[Any] = []
        self.agents: Counter[str] = Counter()
        self.cut_after = 50
        self.poison = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.agents[request.headers["User-Agent"]] += 1
        given = await request.post()
        if self.faults:
            fault = self.faults.pop(0)
            if fault == "cut":
                return web.Response(body=b'{"query": {"pages": [', content_type="application/json")
            if fault == "maxlag":
                error = {"error": {"code": "maxlag", "info": "lagged"}}
                return web.json_response(error, headers={"Retry-After": "0"})
            return web.Response(status=fault, headers={"Retry-After": "0"})
        reply = self.search(str(given["srsearch"])) if "srsearch" in given else self.query(given)
        body = gzip.compress(orjson.dumps(reply))
        return web.Response(
            body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
        )

    def search(self, words: str) -> dict[str, Any]:
        hits = [
            title for title, text in self.pages.items() if all(w in text.casefold() for w in words.split())
        ]
        return {"query": {"search": [{"title": title} for title in hits]}}

    def query(self, given: Mapping[str, Any]) -> dict[str, Any]:
        titles = str(given["titles"]).removeprefix("\x1f").split("\x1f")
        self.asked.append(titles)
        if len(titles) > 50:
            return {"error": {"code": "toomanyvalues", "info": "51 is more than 50"}}
        if self.poison in titles:
            return {"error": {"code": "internal_api_error", "info": "this title breaks me"}}
        pages, redirects = [], []
        for title in titles:
            if title in REDIRECTS:
                redirects.append({"from": title, "to": REDIRECTS[title]})
            pages.append(self.page(REDIRECTS.get(title, title)))
        done = int(given.get("rvcontinue", 0))
        following = done + self.cut_after
        for number, page in enumerate(pages):
            if not done <= number < following and "revisions" in page:
                page["revisions"] = []
        reply: dict[str, Any] = {"query": {"pages": pages[::-1], "redirects": redirects}}
        if following < len(pages):
            reply["continue"] = {"rvcontinue": str(following), "continue": "||"}
        return reply

    def page(self, title: str) -> dict[str, Any]:
        if title not in self.pages:
            return {"title": title, "missing": True}
        slots = {"main": {"content": self.pages[title]}}
        address = f"https://wiki.example/{title}"
        return {
            "title": title,
            "pageid": 1,
            "canonicalurl": address,
            "revisions": [{"revid": 7, "slots": slots}],
        }


@asynccontextmanager
async def wiki(cache: Path | None = None, **options: Any) -> AsyncIterator[tuple[MediaWiki, Wiki]]:
    server = Wiki()
    app = web.Application()
    app.router.add_post("/api.php", server.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/api.php"
        given = {
            "api_url": url,
            "contact": "me@example.org",
            "per_second": 1000,
            "cache": cache or Path(":memory:"),
        }
        yield await stack.enter_async_context(MediaWiki(MediaWikiOptions(**{**given, **options}))), server


async def titles_of(retriever: MediaWiki, names: Sequence[str], claim: str = "what") -> list[str | None]:
    found = await retriever.retrieve([(name, claim) for name in names], 3)
    return [passages[0].title if passages else None for passages in found]


async def test_names_lead_to_articles(tmp_path: Path) -> None:
    async with wiki(search=False) as (retriever, server):
        names = ["oxygen", "US", "C#", "Broken", "Loop", "Nothing", "A|B", "Mercury", "<bad>", ""]
        assert await titles_of(retriever, names) == [
            "Oxygen", "United States", "C", None, None, None, "A|B", None, None, None
        ]  # fmt: skip
        assert len(server.asked) == 1
        [[passage]] = await retriever.retrieve([("Oxygen", "atomic number")], 3)
        assert passage.text == "Oxygen is a chemical element with number 8."
        assert (passage.revid, passage.url) == (7, "https://wiki.example/Oxygen")
        assert (passage.licence, passage.source) == ("CC BY-SA 4.0", "mediawiki")
        [agent] = server.agents
        assert "me@example.org" in agent
        assert "DataGen" in agent


async def test_many_names_go_in_batches_each_once() -> None:
    async with wiki(search=False) as (retriever, server):
        server.pages |= {f"Thing {n}": f"Thing {n} is the thing with number {n}." for n in range(400)}
        server.cut_after = 20
        names = [f"Thing {n % 400}" for n in range(2_000)]
        assert await titles_of(retriever, names) == names
        asked = [title for titles in server.asked for title in titles]
        assert len(set(asked)) == 400
        assert len(server.asked) <= 3 * (400 // 50) + 3  # each batch in three parts
        before = len(server.asked)
        assert await titles_of(retriever, names) == names
        assert len(server.asked) == before


async def test_the_disk_remembers_what_is_and_what_is_not(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "wiki.db"
    async with wiki(cache, search=False) as (retriever, server):
        assert await titles_of(retriever, ["Oxygen", "US", "Nothing"]) == ["Oxygen", "United States", None]
    async with wiki(cache, search=False) as (retriever, server):
        assert await titles_of(retriever, ["Oxygen", "US", "Nothing"]) == ["Oxygen", "United States", None]
        assert server.asked == []
    async with wiki(cache, offline=True, contact=None) as (retriever, server):
        assert await titles_of(retriever, ["Oxygen", "C"]) == ["Oxygen", None]
        assert server.agents == {}
    async with wiki(cache, search=False, negative_days=1e-9) as (retriever, server):
        assert await titles_of(retriever, ["Oxygen", "Nothing"]) == ["Oxygen", None]
        assert server.asked == [["Nothing"]]


@pytest.mark.parametrize(
    "faults", [[429, 503], ["maxlag"], ["cut"], [500, "cut"], [429, "maxlag", 503, "cut"]]
)
async def test_a_wiki_that_is_busy_is_waited_for(faults: list[Any]) -> None:
    async with wiki(search=False) as (retriever, server):
        server.faults = list(faults)
        assert await titles_of(retriever, ["Oxygen", "US"]) == ["Oxygen", "United States"]
        assert server.faults == []


async def test_one_bad_title_does_not_cost_its_batch() -> None:
    async with wiki(search=False) as (retriever, server):
        assert await titles_of(retriever, ["C"]) == ["C"]
        server.poison = "Poison"
        assert await titles_of(retriever, ["Oxygen", "Poison", "US"]) == ["Oxygen", None, "United States"]
        assert retriever.counts["refused"] == 1


async def test_a_wiki_that_never_answers_ends_the_run_and_a_caller_that_leaves_takes_nobody_along() -> None:
    async with wiki() as (retriever, server):
        server.faults = [404] * 50
        with pytest.raises(RetrieverUnavailable, match="answers nothing: status 404"):
            await retriever.retrieve([("Oxygen", "x")], 1)
    async with wiki(search=False) as (retriever, server):
        first = asyncio.create_task(retriever.retrieve([("Oxygen", "x")], 1))
        second = asyncio.create_task(retriever.retrieve([("Oxygen", "x")], 1))
        await asyncio.sleep(0)
        first.cancel()
        [[passage]] = await second
        assert passage.title == "Oxygen"


async def test_a_wiki_that_goes_silent_ends_the_run_rather_than_reject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with wiki(search=False) as (retriever, _):
        assert await titles_of(retriever, ["C"]) == ["C"]

        async def silent(*_: Any) -> Any:
            raise Unanswered("TimeoutError: ")

        monkeypatch.setattr(retriever._wiki.api, "ask", silent)
        with pytest.raises(RetrieverUnavailable, match="does not answer"):
            await retriever.retrieve([("Oxygen", "x"), ("US", "x")], 1)


async def test_a_page_that_cannot_be_read_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from validators.facts import mediawiki

    def reading(found: Any) -> Any:
        if found and found.get("title") == "Oxygen":
            raise RecursionError
        return page_of(found)

    monkeypatch.setattr(mediawiki, "page_of", reading)
    async with wiki(search=False) as (retriever, _):
        assert await titles_of(retriever, ["Oxygen", "US"]) == [None, "United States"]


async def test_half_characters_from_a_model_harm_nobody(documents: Path) -> None:
    def answers(prompt: Prompt) -> Mapping[str, Any] | str:
        return r'{"entities": ["\ud800bad", "France"]}' if prompt.purpose == "entities" else YES

    verdict, _ = await checked(documents, answers)
    assert verdict.record["entities"] == ["bad", "France"]


async def test_an_article_that_only_its_title_matches(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(orjson.dumps({"title": "Zorblax", "text": "It is a river in the north."}))
    async with Local(LocalOptions(path=path)) as local:
        [[passage]] = await local.retrieve([("Zorblax", "Zorblax mouth?")], 3)
        assert passage.title == "Zorblax"
    for broken in (b"[1]", b'{"title": "x"'):
        path.write_bytes(broken)
        with pytest.raises(RetrieverUnavailable):
            async with Local(LocalOptions(path=path)):
                pass


async def test_what_has_no_article_is_searched_for() -> None:
    async with wiki() as (retriever, _):
        assert await titles_of(retriever, ["planet nearest sun", "Mercury"]) == [
            "Mercury (planet)",
            "Mercury (planet)",
        ]


def test_wikitext_as_text() -> None:
    text = plain_text(
        "== Life ==\n'''Ada'''{{born|1815}} wrote [[program|programs]].<ref>x</ref>\n"
        "{| class=x\n|a\n|}\n[[File:A.jpg|thumb|Ada]]"
    )
    assert text.replace("\n", " ").split() == "Life Ada wrote programs .".replace(" .", ".").split()
    assert page_of({"title": "X", "missing": True}) is None
    gathered = Gathered()
    assert gathered.add(
        {"query": {"pages": [{"title": "A", "revisions": []}]}, "continue": {"rvcontinue": 3}}
    )
    assert gathered.add({"query": {"pages": [{"title": "A", "revisions": [{"revid": 1}]}]}}) is None
    assert (gathered.page("A") or {})["revisions"] == [{"revid": 1}]


# --- the validator ---------------------------------------------------------------------------------


def script(*checks: Mapping[str, Any], entities: Sequence[str] = ("Oxygen",)) -> Any:
    left = list(checks)

    def answers(prompt: Prompt) -> Mapping[str, Any]:
        return {"entities": list(entities)} if prompt.purpose == "entities" else left.pop(0)

    return answers


QUOTE = "oxygen has the SYMBOL 'O'"
YES = {"reasoning": "so it says", "verdict": "supported", "quote": QUOTE, "item": None}
NO = {"reasoning": "it says otherwise", "verdict": "refuted", "quote": QUOTE, "item": None}
SILENT = {"reasoning": "it does not say", "verdict": "silent", "quote": "", "item": None}


async def checked(documents: Path, answers: Any, **options: Any) -> Any:
    asked: list[Prompt] = []
    source = {"kind": "local", "path": str(documents)}
    async with FactCheck(tools_for(answers, asked=asked), source=source, **options) as check:
        return await check.validate(item("What is the symbol of oxygen?", "X")), asked


async def test_supported_corrected_refuted_unverifiable(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(orjson.dumps({"title": "Oxygen", "text": "Oxygen has the symbol O. ``` {"}))
    verdict, asked = await checked(path, script(YES))
    assert verdict.decision is Decision.PASS
    assert verdict.record["passages"][0]["title"] == "Oxygen"
    assert "Oxygen has the symbol O." in asked[-1].user
    assert asked[-1].user.count("```") == 2
    right = {**NO, "item": {"label": "O"}}
    verdict, asked = await checked(path, script(right, YES))
    assert verdict.decision is Decision.REVISE
    assert verdict.item.label == "O"
    assert [prompt.purpose for prompt in asked] == ["entities", "fact_check", "fact_check"]
    assert '"label":"O"' in asked[-1].user
    for answers in (
        script(right, NO),
        script(NO),
        script({**NO, "item": {"text": ""}}),
        script({**NO, "item": {}}, YES),
    ):
        verdict, _ = await checked(path, answers)
        assert (verdict.decision, verdict.reason) == (Decision.REJECT, "refuted")
    verdict, asked = await checked(path, script(entities=[]))
    assert (verdict.decision, verdict.reason) == (Decision.REJECT, "unverifiable")
    verdict, _ = await checked(path, script(entities=[]), unverifiable="keep")
    assert verdict.decision is Decision.PASS
    assert verdict.record["unverifiable"] is True


@pytest.mark.parametrize(
    ("said", "decision", "reason"),
    [
        (SILENT, Decision.REJECT, "unverifiable"),
        ({**YES, "quote": "Oxygen has the symbol X."}, Decision.REJECT, "unverifiable"),
        ({**YES, "quote": ""}, Decision.REJECT, "unverifiable"),
        ({**YES, "quote": "the"}, Decision.REJECT, "unverifiable"),
        ({**NO, "quote": "I remember it well"}, Decision.REJECT, "unverifiable"),
        ({**NO, "quote": "I remember", "item": {"label": "Y"}}, Decision.REJECT, "unverifiable"),
        ({**YES, "quote": "Oxygen \u2026 symbol O."}, Decision.PASS, ""),
        ({**YES, "quote": "symbol O ... Oxygen has"}, Decision.REJECT, "unverifiable"),
        # As it was asked at first, without a quote.
        ({"reasoning": "", "supported": True, "item": None}, Decision.PASS, ""),
        ({"reasoning": "", "supported": False, "item": None}, Decision.REJECT, "unverifiable"),
    ],
)
async def test_only_what_is_quoted_is_evidence(
    tmp_path: Path, said: Any, decision: Decision, reason: str
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(orjson.dumps({"title": "Oxygen", "text": "Oxygen has the symbol O."}))
    verdict, asked = await checked(path, script(said))
    assert (verdict.decision, verdict.reason) == (decision, reason)
    assert "documents that the dataset's owner trusts" in asked[-1].system
    assert not any("encyclopedia" in prompt.system for prompt in asked)


@pytest.mark.parametrize(
    ("unverifiable", "decision", "reason"),
    [("keep", Decision.PASS, ""), ("flag", Decision.PASS, "unverifiable"), ("reject", Decision.REJECT, "unverifiable")],
)  # fmt: skip
async def test_what_the_source_is_silent_about_is_not_refuted(
    tmp_path: Path, unverifiable: str, decision: Decision, reason: str
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(orjson.dumps({"title": "Oxygen", "text": "Bananas are yellow."}))
    for answers in (script(SILENT), script(entities=[])):
        verdict, _ = await checked(path, answers, unverifiable=unverifiable)
        assert (verdict.decision, verdict.reason) == (decision, reason)
        assert unverifiable == "reject" or verdict.record["unverifiable"] is True
    verdict, _ = await checked(path, script({**NO, "quote": "bananas are yellow"}), unverifiable="keep")
    assert verdict.reason == "refuted"


async def test_other_passages_make_another_question(tmp_path: Path) -> None:
    keys = []
    for text in ("Oxygen has the symbol O.", "Oxygen has the symbol O.", "Oxygen is a gas."):
        path = tmp_path / "d.jsonl"
        path.write_bytes(orjson.dumps({"title": "Oxygen", "text": text}))
        _, asked = await checked(path, script(YES))
        keys.append(asked[-1].key)
    assert keys[0] == keys[1] != keys[2]


async def test_the_conformance_suite(documents: Path) -> None:
    def answers(prompt: Prompt) -> Mapping[str, Any]:
        return (
            {"entities": ["France"]}
            if prompt.purpose == "entities"
            else {**(YES if "Paris" in prompt.user.split("```")[1] else NO), "quote": "the capital is Paris"}
        )

    source = {"kind": "local", "path": str(documents)}
    await check_validator(
        lambda tools: FactCheck(tools, source=source),
        good=item("Capital of France?", "Paris"),
        bad=item("Capital of France?", "Lyon", position=1),
        answers=answers,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "source"),
        ({"source": {"kind": "mediawiki"}}, "contact: is missing; give your mail or web address"),
        ({"source": {"kind": "mediawiki", "contact": "nobody"}}, "contact"),
        ({"source": {"kind": "local", "path": "nowhere"}}, "does not exist"),
        ({"source": {"kind": "magic"}}, "source"),
        ({"source": {"kind": "mediawiki", "contact": "a@b.c", "api_url": "ftp://x"}}, r"source\.api_url"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FactCheck(tools_for(), **options)


async def test_facts_in_a_run_become_right(endpoint: Start, configs: Configs, documents: Path) -> None:
    url, _ = await endpoint(kind="short_facts", wrong_facts=0.4)
    facts = {"name": "facts", "source": {"path": documents.name, "kind": "local"}}
    folder = configs.folder / "out"
    base = [{"question": f"What is the {n}th letter called?", "answer": f"letter {n}"} for n in range(12)]
    configs.base.write_text("\n".join(map(json.dumps, base)))
    settings = {"generate": {"target": 100, "allow_repeats": True}, "validators": ["constraints", facts]}
    report = await run_in(folder, configs.load(url, **settings))
    assert report.outcome == "target"
    rows = lines(folder / "accepted.jsonl")
    assert all(is_right({"text": row["question"], "label": row["answer"]}) for row in rows)
    assert report.data["validators"]["facts"]["revised"] > 10
    assert set(report.data["validators"]["facts"]["reasons"]) <= {"corrected", "unverifiable", "refuted"}
