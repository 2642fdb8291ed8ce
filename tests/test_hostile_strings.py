"""Texts that something would act upon pass through every door of a run as what they are: texts."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.escaping import fenced, printable, printable_json, quoted_cell, unquoted_cell, web_address
from engine.files.source import rows_of as read_rows
from engine.store.journal import storable
from faults.provider import Asked, Provider, provided
from hostile_strings import hostile_strings

HOSTILE = hostile_strings()
MARKED = [f"{number:04} {text}" for number, text in enumerate(HOSTILE)]
"""Each with a number, so that it is found again, and no two are alike."""
ACTS_ON_A_TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_there_are_a_thousand() -> None:
    assert len(HOSTILE) == 1000


def reviewing(asked: Asked) -> str:
    """Items of the table, ten for each call; a review repeats one of them in everything that it says."""
    purpose = asked.body.get("response_format", {}).get("json_schema", {}).get("name", "items")
    if purpose == "items":
        begun = reviewing.next  # type: ignore[attr-defined]
        reviewing.next = begun + 10  # type: ignore[attr-defined]
        made = [
            {"question": storable(text), "answer": storable(HOSTILE[-place])}
            for place, text in enumerate(MARKED[begun : begun + 10], begun)
        ]
        return orjson.dumps({"items": made}).decode()
    text = storable(HOSTILE[asked.number % 1000])
    told = {"is_good": text[:1] > "p", "good": True, "verdict": text, "problems": [text], "feedback": text,
            "reflection": text, "isgood": "yes", "strengths": text, "weaknesses": text}  # fmt: skip
    return orjson.dumps(told).decode()


@pytest.fixture(scope="module")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "base.jsonl"
    rows = [{"question": f"base {storable(text)}", "answer": storable(text[5:])} for text in MARKED]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


async def test_a_thousand_hostile_texts_go_through_a_run(
    tmp_path: Path, table_file: Path, configs: Configs
) -> None:
    """Dataset, prompts, replies, validators, journal, every export, the page, the terminal."""
    provider = Provider()
    reviewing.next = 0  # type: ignore[attr-defined]
    provider.content = reviewing
    folder = tmp_path / "run"
    async with provided(provider) as url:
        path = configs.write(
            url,
            dataset={
                "path": str(table_file),
                "fields": {"text": "question", "label": None, "extras": ["answer"]},
            },
            generate={"target": 900, "batch_size": 10, "few_shot": 3, "max_tokens": 4000},
            validators=["constraints"],
            limits={"concurrency": 1, "attempts": 2, "least_acceptance": 0},
            observe={"page": True},
        )
        report = await run_in(folder, RunConfig.load(path))
    accepted = lines(folder / "accepted.jsonl")
    assert report.accepted == len(accepted) > 600
    by_number = {text[:4]: storable(text) for text in MARKED}
    for row in accepted:
        assert row["question"].strip() == by_number[row["question"][:4]].replace("\r", "\n").strip()
    page = (folder / "report.html").read_text()
    for word in ("onerror=alert", "onload=alert", "<script>alert", "</style><b>", "<iframe"):
        assert word not in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
    for command in ("status", "report"):
        code, out, err = await finished(await datagen(command, folder))
        assert (code, ACTS_ON_A_TERMINAL.search(out + err)) == (0, None)
    await check_exports(folder, accepted, tmp_path)


async def check_exports(folder: Path, accepted: list[dict[str, Any]], place: Path) -> None:
    """What is read back is what was accepted, in every format."""
    wanted = [(row["question"], str(row["answer"])) for row in accepted]
    for name in ("out.jsonl", "out.json", "out.csv", "out.parquet"):
        code, _, err = await finished(await datagen("export", folder, "-o", place / name))
        assert code == 0, err
        found = [row for _, row in read_rows(place / name)]
        assert [(row["question"], str(row["answer"])) for row in found] == wanted, name  # type: ignore[index]
    assert pyarrow.parquet.read_table(place / "out.parquet").num_rows == len(wanted)
    with (place / "out.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [
        cell for cell in cells if cell[:1] and cell[0] in "=+-@\t\r" and not re.fullmatch(r"[-+]?\d+", cell)
    ]
    code, _, _ = await finished(await datagen("export", folder, "-o", place / "raw.csv", "--csv-raw"))
    assert code == 0
    with (place / "raw.csv").open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)][1:] == wanted


def test_a_prompt_holds_each_text_within_its_fence() -> None:
    """No text closes the block that it is shown in, and no template runs it."""
    for text in HOSTILE:
        block = fenced({"text": storable(text)})
        assert block.count("```") == 2
        assert orjson.loads(block.removeprefix("```json\n").removesuffix("\n```")) == {"text": storable(text)}


async def test_a_text_of_ten_megabytes_costs_its_row(tmp_path: Path, configs: Configs) -> None:
    base = tmp_path / "long.jsonl"
    rows = [{"question": "x" * 10_000_000, "answer": "1"}, {"question": "What is one?", "answer": "1"}]
    base.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    provider = Provider()
    async with provided(provider) as url:
        config = configs.load(url, dataset={"path": str(base)}, generate={"target": 3, "few_shot": 1})
        report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    assert all(len(orjson.dumps(asked.body)) < 10_000 for asked in provider.account.asked)


@given(st.text(max_size=60))
def test_a_cell_reads_back_equal(text: str) -> None:
    cell = quoted_cell(text)
    assert unquoted_cell(cell) == text
    assert not cell or cell[0] not in "=+-@\t\r\n"


@given(st.text(max_size=60))
def test_nothing_that_is_printed_acts(text: str) -> None:
    assert ACTS_ON_A_TERMINAL.search(printable(text)) is None
    if "\ud800" not in text and not any(0xD800 <= ord(mark) < 0xE000 for mark in text):
        written = orjson.dumps({"said": text}).decode()
        assert orjson.loads(printable_json(written)) == {"said": text}


def test_printing_keeps_what_people_write() -> None:
    for text in (
        "na\u00efve\u00a0caf\u00e9",
        "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469",
        "a\tb\n",
    ):
        assert printable(text) == text


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://en.wikipedia.org/wiki/Caf\u00e9", True),
        ("http://localhost:8080/wiki/A", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("file:///etc/passwd", False),
        ('https://x/" onclick="alert(1)', False),
        ("//elsewhere.example", False),
        ("https://x/\nY", False),
    ],
)
def test_only_the_address_of_a_page_is_a_link(url: str, kept: bool) -> None:
    assert web_address(url) == (url if kept else "")


BOMBS = {
    "aliases of aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
    "aliases in mappings": "a0: &a0 {k: v}\n"
    + "".join(f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}\n" for n in range(1, 12)),
    "itself": "a: &a [*a]\n",
    "deep": "a: " + "[" * 300 + "]" * 300,
    "very deep": "a: " + "{b: " * 100_000,
    "long texts": f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_config_that_expands_without_end_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        RunConfig.load(path)


def test_aliases_that_people_use_are_fine(configs: Configs, tmp_path: Path) -> None:
    settings = yaml.safe_dump(configs.settings("http://127.0.0.1:9/v1"))
    path = tmp_path / "config.yaml"
    path.write_text(settings.replace("  price:", "  price: &price", 1) + "prompts: {}\n")
    assert RunConfig.load(path).main.price is not None


async def test_a_config_runs_no_code_unless_it_is_allowed(
    tmp_path: Path, configs: Configs, own_settings: Path
) -> None:
    """Not in plan, check, run, nor from a run folder; on the command line, or in the user's own list."""
    trace = tmp_path / "trace"
    path = configs.write(
        "http://127.0.0.1:9/v1", groupcheck=True, embedding={"function": "subprocess:getoutput"}
    )
    base = tmp_path / "base.jsonl"
    base.write_bytes(orjson.dumps({"question": f"touch {trace}", "answer": "1"}) + b"\n")
    for command in (["plan", path], ["check", path], ["run", path, "-o", tmp_path / "run"], ["bench", path]):
        code, out, err = await finished(await datagen(*command))
        assert code == 2, out + err
        assert "subprocess:getoutput" in out + err
        assert "--allow-code" in out + err
    assert not trace.exists()
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="would run the code"):
        RunConfig.load(path)
    assert RunConfig.load(path, allow_code=True).embedding.function == "subprocess:getoutput"
    RunConfig.load(path, {"embedding.function": "subprocess:getoutput"})
    kept = own_settings.read_text()
    try:
        own_settings.write_text(kept + "subprocess:getoutput  # mine\n")
        RunConfig.load(path)
    finally:
        own_settings.write_text(kept)
