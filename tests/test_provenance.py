"""What is on record of where things came from: who asked each call, what a verdict took, what became of a batch."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import orjson
import pytest

from conftest import ROOT, Configs, Start
from engine.conformance import item
from engine.errors import StoreError
from engine.flow.halt import Halt
from engine.items import Completion, Item, Prompt, Usage, Verdict
from engine.planning.delayed import BatchOutcome
from engine.protocols import Compliance, RuleChecked, Tally, Tools
from engine.report.sections import counted, section_from
from engine.report.summary import summarize
from engine.runs import setup
from engine.runs.api import arun
from engine.runs.modes import GenerateMode
from engine.stages.commit import Commit
from engine.stages.meter import Meter
from engine.stages.refine import Refine
from engine.store.journal import Journal
from engine.store.migrations import VERSION, owner_of
from engine.store.reading import connect, read_plans

GOLDEN = ROOT / "tests" / "golden"


def of_release_0_1(path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript((GOLDEN / "run-0.1.sql").read_text("utf-8"))
    return path


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("0/items", "generate"),
        ("3-1/code/program/1", "code"),
        ("3-1.2/reflection/review/0.2", "reflection"),
        ("12-0/answer/answer/1", "answer"),
        ("attributes/constraints/0", "attributes"),
        ("lessons/4", "lessons"),
        ("embedding/0aff", "embedding"),
    ],
)
def test_the_owner_of_a_call_of_0_1(key: str, owner: str) -> None:
    assert owner_of(key) == owner


async def test_an_attribute_named_like_a_validator_charges_it_nothing(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    config = configs.load(
        url,
        generate={"attributes": {"constraints": {"extract": 12, "keep": 3}, "code": ["a", "b"]}},
        validators=["constraints"],
    )
    report = (await arun(config, tmp_path / "run")).data
    assert report["calls"]["by_purpose"]["attributes"] == 2
    assert report["validators"]["constraints"]["calls"] == 0
    assert report["validators"]["constraints"]["cost_usd"] == 0.0


def owners(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT owner, count(*) FROM calls GROUP BY owner").fetchall())


async def test_a_journal_of_0_1_is_migrated_once_it_is_written(tmp_path: Path) -> None:
    path = of_release_0_1(tmp_path / "run.db")
    with contextlib.closing(connect(path)) as only_read:
        assert sum(owners(only_read).values()) == 71
        before = owners(only_read)
        assert (
            summarize(only_read, target=18, cap_usd=None).data["validators"]["constraints"]["calls"]
            == before["constraints"]
        )
    for _ in range(2):  # and once only
        journal = Journal(path)
        await journal.close()
        with contextlib.closing(connect(path)) as migrated:
            assert owners(migrated) == before
            assert migrated.execute("SELECT value FROM facts WHERE name = 'version'").fetchone() == (
                str(VERSION),
            )


async def test_a_journal_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    path = of_release_0_1(tmp_path / "run.db")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE facts SET value = '99' WHERE name = 'version'")
        database.commit()
    with pytest.raises(StoreError, match="of journal version 99"):
        Journal(path)


# --- what a verdict took ---------------------------------------------------------------------------


class Batching:
    """A validator that gathers items and asks for all of them from a task of its own."""

    name = "batching"

    def __init__(self, tools: Any, key: Callable[[Item], str], item: Callable[[Item], str]) -> None:
        self._ask, self._key, self._item = tools, key, item
        self._asked: asyncio.Queue[tuple[Item, asyncio.Future[None]]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._task.cancel()

    async def _work(self) -> None:
        while True:
            found, done = await self._asked.get()
            prompt = Prompt(self._key(found), "x", 0, "s", "u", {}, 0.0, 10, 0, item=self._item(found))
            await self._ask(prompt)
            done.set_result(None)

    async def validate(self, item: Item) -> Verdict:
        done = asyncio.get_running_loop().create_future()
        await self._asked.put((item, done))
        await done
        return Verdict.passed(self.name)


@pytest.mark.parametrize("named", ["by the prompt", "by the key"])
async def test_calls_from_a_task_of_the_validators_own_count_for_their_item(named: str) -> None:
    asked: list[Prompt] = []

    async def ask(prompt: Prompt) -> Completion:
        asked.append(prompt)
        await asyncio.sleep(0)
        return Completion("{}", "m", "stop", Usage(10, 1, cost=5))

    meter = Meter()
    by_key = named == "by the key"
    validator = Batching(
        meter.metered(ask, "batching"),
        lambda found: f"{found.id}/batching/x/1" if by_key else "gathered",
        lambda found: "" if by_key else found.id,
    )
    refine = Refine(validator, Halt(), lambda _: None, meter=meter)
    async with validator:
        items = [item(f"text {place}", position=place) for place in range(5)]
        judged = [one for [one] in await asyncio.gather(*map(refine, items))]
    assert [one.usage.cost for one in judged] == [5] * 5
    assert {prompt.owner for prompt in asked} == {"batching"}
    assert [prompt.item for prompt in asked] == [one.id for one in items]


# --- what became of a batch ------------------------------------------------------------------------


async def test_outcomes_of_the_live_run_are_those_of_the_resumed_one(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the commit stage tells them, and as they are read back from the journal."""
    url, _ = await endpoint(wrong_labels=0.3, near_duplicates=0.5, violations=0.2, program_errors=0.1)
    config = configs.load(
        url,
        dataset={"constraints": [{"length": {"max": 40}}, {"label_in": [str(n) for n in range(400)]}]},
        generate={
            "target": 40,
            "strategies": {"plain": {"attributes": False}, "guided": {}},
            "attributes": {"kind": ["a", "b"]},
            "learn_from_mistakes": {"every": 1000},
        },
        validators=["constraints", "reflection"],
        groupcheck={"same": "text", "on_duplicate": "retry"},
    )
    live: list[BatchOutcome] = []
    made = Commit.__init__

    def listening(self: Commit, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self._observers = [*self._observers, live.append]

    monkeypatch.setattr(Commit, "__init__", listening)
    await arun(config, tmp_path / "run")
    with contextlib.closing(connect(tmp_path / "run" / "run.db")) as connection:
        inputs = GenerateMode().load(config)
        read = setup._outcomes(inputs, connection, read_plans(connection))
    assert len(live) > 10
    assert sum(len(outcome.mistakes) for outcome in live) > 3
    assert any(outcome.duplicates for outcome in live)
    assert read[: len(live)] == live


# --- the sections that validators describe ---------------------------------------------------------


class Reporting:
    """A plugin with both kinds of section."""

    name = "reporting"

    def __init__(self, tools: Tools) -> None: ...

    def describe(self) -> Mapping[str, Any]:
        rules = [RuleChecked("Is short."), RuleChecked("Is kind.", "asked")]
        return {
            "caveat": "Nobody is perfect.",
            "sections": [
                Tally(
                    "colours",
                    "Which colours were seen",
                    "colours",
                    "colour",
                    {"seen": ("pass", "reject"), "stayed": ("pass",)},
                ),
                Compliance("manners", "How well manners were kept", "faults", rules),
            ],
        }

    async def validate(self, item: Item) -> Verdict:
        short = len(item.text) % 2 == 0
        record = {
            "colours": ["red", "blue"] if short else ["red"],
            "asked": short,
            "faults": [] if short else [0],
        }
        return Verdict.passed(self.name, record) if short else Verdict.rejected(self.name, "long", "", record)


class Point:
    name = "reporting"

    def load(self) -> Callable[..., Any]:
        return Reporting


async def test_a_plugins_sections_look_like_a_built_in_ones(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runs.plugins.installed_validators", lambda: {Point.name: Point()})
    url, _ = await endpoint()
    config = configs.load(url, validators=["reporting"], observe={"page": True})
    report = (await arun(config, tmp_path / "run")).data
    seen = report["validators"]["reporting"]
    assert seen["about"] == {"caveat": "Nobody is perfect."}
    assert report["colours"]["red"] == {"seen": seen["seen"], "stayed": seen["passed"]}
    assert report["colours"]["blue"] == {"seen": seen["passed"], "stayed": seen["passed"]}
    short, kind = report["manners"]
    [by_model] = short["by_model"].values()
    assert by_model == {
        "checked": seen["seen"],
        "broken": seen["rejected"],
        "kept": 1 - seen["rejected"] / seen["seen"],
    }
    [by_model] = kind["by_model"].values()
    assert by_model == {"checked": seen["passed"], "broken": 0, "kept": 1.0}
    assert report["difficulty"] == {}  # stands in every report
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Which colours were seen" in page
    assert "How well manners were kept" in page


def test_a_report_of_0_1_has_the_sections_that_it_had(tmp_path: Path) -> None:
    """Its journal describes none: what its validators reported is known."""
    with contextlib.closing(connect(of_release_0_1(tmp_path / "run.db"))) as connection:
        found = counted(connection)
    judged, length = found["constraints"]
    assert judged["rule"] == "The problem can be solved from its text alone."
    assert judged["by_model"]["simulated"]["broken"] == 3
    assert length["by_model"]["simulated"]["checked"] >= judged["by_model"]["simulated"]["checked"]
    assert found["difficulty"] == {}


def test_sections_survive_the_journal() -> None:
    sections = Reporting.describe(Reporting.__new__(Reporting))["sections"]
    from dataclasses import asdict

    for kind, section in zip(("tally", "compliance"), sections, strict=True):
        kept = orjson.loads(orjson.dumps({"kind": kind, **asdict(section)}))
        assert orjson.loads(orjson.dumps(asdict(section_from(kept)))) == orjson.loads(
            orjson.dumps(asdict(section))
        )
