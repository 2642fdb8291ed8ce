"""Runs in batches, against the batch APIs that the simulated endpoint plays over HTTP: the laws, and every fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from conftest import Configs, Start, contents, datagen, finished, lines, run_in
from engine.config import RunConfig
from engine.errors import ConfigError
from engine.items import PICO
from engine.llm.budget import Budget
from engine.runs.lanes import batch_api, batch_price
from engine.store.parts import PartBook
from engine.store.prompts import read_prompt
from engine.store.reading import connect
from nights import APIS, Night, check, rows


@pytest.fixture
def night(tmp_path: Path, endpoint: Start, configs: Configs) -> Night:
    return Night(tmp_path, endpoint, configs)


# --- the promise ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [each for each in APIS if each != "gemini"])
@pytest.mark.parametrize("mode", ["batch", "auto"])
async def test_the_dataset_is_the_same_online_and_in_batches(
    dialect: str, mode: str, night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated model's answers depend on the whole request: here all ask for answers of the same length."""
    monkeypatch.setattr(PartBook, "longest", lambda self: {})
    config = await night.config(mode, dialect, thinking="none")
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    check(night)
    online = config.changed(limits=config.limits.model_copy(update={"mode": "online"}))
    assert (await run_in(tmp_path / "online", online)).outcome == "target"
    assert contents(night.folder / "accepted.jsonl") == contents(tmp_path / "online" / "accepted.jsonl")
    assert prompts_of(night.folder) == prompts_of(tmp_path / "online")


def prompts_of(folder: Path) -> dict[str, tuple[str, str] | None]:
    """What each call of a run was asked, as it is kept."""
    with closing(connect(folder / "run.db")) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM calls WHERE batch < 5")]
        asked = {key: read_prompt(connection, key) for key in keys}
    assert all(asked.values())
    return {key: prompt and (prompt.system, prompt.user) for key, prompt in asked.items()}


@pytest.mark.parametrize("dialect", APIS)
async def test_half_the_price_as_the_provider_counts_it(dialect: str, night: Night) -> None:
    config = await night.config("batch", dialect, price={"input": 1.0, "output": 2.0})
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    found = check(night)
    online = found["calls"]["completed"] - found["batches"]["calls"]
    assert online <= len(found["calls"]["by_purpose"]), "the first of each purpose finds out what is taken"
    assert found["batches"]["calls"] > 60
    assert found["cost"]["spent_usd"] == pytest.approx(night.billed, rel=0.02)


async def test_auto_goes_online_first_and_last(night: Night) -> None:
    config = await night.config(
        "auto", more={"generate": {"target": 150}, "limits": {"batch": {"least": 30, "pilot": 4}}}
    )
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    found = check(night)
    sizes = [calls for (calls,) in rows(night.folder, "SELECT n FROM parts WHERE state = 'collected'")]
    assert sizes
    assert min(sizes) >= 30
    assert 0 < found["batches"]["calls"] < found["calls"]["completed"]
    first = rows(night.folder, "SELECT count(*) FROM asked WHERE batch < 4")
    assert first == [(0,)], "the pilot's calls are in no batch"


async def test_nothing_is_sent_where_the_pilot_brings_nothing(night: Night) -> None:
    config = await night.config(
        "auto", more={"generate": {"batch_size": 3}}, review_accuracy=0.0, wrong_labels=0.0
    )
    report = await run_in(night.folder, config)
    assert report.outcome == "attempts"
    assert "nothing was sent in a batch" in report.data["message"]
    assert not night.desk.batches


async def test_auto_goes_on_in_waves_after_what_was_too_little(night: Night) -> None:
    """At a few calls it finishes online what is begun, and no more: what comes next may be a wave again."""
    more = {"generate": {"target": 150}, "limits": {"batch": {"least": 20, "pilot": 4}}}
    config = await night.config("auto", more=more, near_duplicates=0.5)
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    found = check(night)
    assert found["batches"]["calls"] > 0.6 * found["calls"]["completed"]


async def test_auto_gets_as_much_out_of_a_tight_cap_as_batches_do(night: Night, tmp_path: Path) -> None:
    accepted = {}
    for mode in ("online", "batch", "auto"):
        config = await night.config(
            mode, cap=0.02, price={"input": 1.0, "output": 2.0}, more={"generate": {"target": 2000}}
        )
        report = await run_in(tmp_path / mode, config)
        assert report.outcome == "budget"
        accepted[mode] = report.accepted
        if mode != "online":
            found = check(night, tmp_path / mode)
            assert found["batches"]["waves"] <= 20, "at the cap, no wave is sent for a few calls"
    assert accepted["batch"] > 1.4 * accepted["online"]
    assert accepted["auto"] > 1.2 * accepted["online"]


@pytest.mark.parametrize(
    ("dataset", "generate"),
    [
        ({"constraints": [{"label_ratio": {"7": 1, "9": 2, "11": 2}}]}, {}),
        ({}, {"attributes": {"place": ["school", "market", "farm"], "tone": ["plain", "dry"]}}),
        ({}, {"strategies": {"few": {"few_shot": 1}, "many": {"few_shot": 4}}}),
    ],
    ids=["a ratio of labels", "attributes", "several strategies"],
)
async def test_what_a_plan_depends_on_is_the_same_in_waves(
    dataset: Any, generate: Any, night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PartBook, "longest", lambda self: {})
    await night.config("batch")
    assert night.endpoint is not None
    settings = orjson.loads(orjson.dumps(_yaml(night._configs.folder / "config.yaml")))
    settings["dataset"] |= dataset
    settings["generate"] |= {"target": 40, **generate}
    path = night._configs.folder / "config.yaml"
    path.write_bytes(orjson.dumps(settings))
    found = []
    for mode in ("batch", "online"):
        folder = tmp_path / mode
        assert (await run_in(folder, RunConfig.load(path, {"limits.mode": mode}))).outcome == "target"
        found.append(contents(folder / "accepted.jsonl"))
    assert found[0] == found[1]
    check(night, tmp_path / "batch")


def _yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text())


# --- money ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [0.004, 0.02])
async def test_a_cap_holds_at_every_instant(
    cap: float, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0

    def watched(name: str) -> None:
        before: Callable[..., Any] = getattr(Budget, name)

        def after(self: Budget, *given: Any, **named: Any) -> Any:
            nonlocal most
            result = before(self, *given, **named)
            most = max(most, self.spent + self.reserved + self.aside)
            return result

        monkeypatch.setattr(Budget, name, after)

    for name in ("put_aside", "take_back", "_grant", "_settled"):
        watched(name)
    config = await night.config(
        "batch", cap=cap, price={"input": 1.0, "output": 2.0}, more={"generate": {"target": 2000}}
    )
    report = await run_in(night.folder, config)
    assert report.outcome == "budget"
    found = check(night)
    assert most <= cap * PICO
    assert night.billed <= cap
    assert found["cost"]["spent_usd"] == pytest.approx(night.billed, rel=1e-6)
    assert found["items"]["undecided"] < 2000
    config = config.changed(limits=config.limits.model_copy(update={"budget_usd": 2 * cap}))
    assert (await run_in(night.folder, config)).accepted >= report.accepted


async def test_a_price_by_batch_that_is_not_known_is_not_guessed(configs: Configs) -> None:
    model = {
        "name": "m",
        "base_url": "http://127.0.0.1:9/v1",
        "batch": "openai",
        "price": {"input": 1, "output": 2},
    }
    config = configs.load("", model=model, limits={"mode": "batch", "budget_usd": 1.0})
    from engine.runs.modes import GenerateMode

    with pytest.raises(ConfigError, match=r"limits\.budget_usd.*in a batch is not known.*share `batch`"):
        GenerateMode().load(config)
    known = {"gpt-4o-mini": "https://api.openai.com/v1", "claude-haiku-4-5": "https://api.anthropic.com"}
    for name, address in known.items():
        priced = RunConfig.model_validate(
            {**configs.settings(address), "model": {"name": name, "base_url": address}}
        )
        half, whole = batch_price(priced.main), priced.main
        assert half is not None
        from engine.llm.prices import price_of

        online = price_of(whole)
        assert online is not None
        assert half.cost(1000, 1000) * 2 == online.cost(1000, 1000)


async def test_an_answer_that_was_cut_short_is_asked_for_whole(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches ask for twice the longest answer seen; where that is too little, the whole length is asked for."""
    monkeypatch.setattr(PartBook, "longest", lambda self: {"items": 10, "review": 100})
    config = await night.config("batch", price={"input": 1.0, "output": 2.0})
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    found = check(night)
    [(shortened, lost)] = rows(
        night.folder, "SELECT (SELECT count(*) FROM asked WHERE shortened), sum(lost) FROM parts"
    )
    assert shortened
    assert lost > 0
    assert found["items"]["reasons"].get("generate", {}).get("truncated", 0) == 0
    assert found["cost"]["spent_usd"] == pytest.approx(night.billed, rel=1e-6), (
        "what was cut is paid for, too"
    )


# --- what goes wrong ------------------------------------------------------------------------------

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "the reply to a creation is lost": ({"lose_create": 2}, "plain anthropic gemini"),
    "a creation fails": ({"fail_create": 2}, "plain anthropic gemini"),
    "the file is not there yet": ({"file_lag_s": 0.5}, "plain"),
    "single calls fail": ({"line_errors": 0.2}, "plain anthropic gemini"),
    "results hold a line twice, one cut, one of others": ({"odd_lines": True}, "plain anthropic gemini"),
    "a batch expires": ({"stall": 0.5, "day_s": 1.5}, "plain anthropic gemini"),
    "tokens that wait are limited": ({"enqueued_tokens": 6_000}, "plain"),
    "calls that wait are limited": ({"queue": 25}, "anthropic"),
}
"""Knobs of the simulated endpoint, and the dialects whose API they are about."""


@pytest.mark.parametrize(
    ("fault", "dialect"), [(fault, each) for fault, (_, who) in FAULTS.items() for each in who.split()]
)
async def test_a_fault_costs_time_and_nothing_else(fault: str, dialect: str, night: Night) -> None:
    config = await night.config(
        "batch", dialect, batches=FAULTS[fault][0], price={"input": 1.0, "output": 2.0}
    )
    report = await run_in(night.folder, config)
    assert report.outcome == "target", report.data["message"]
    found = check(night)
    assert found["cost"]["spent_usd"] == pytest.approx(night.billed, rel=0.02)


async def test_answers_that_no_file_holds_are_asked_for_again(night: Night) -> None:
    config = await night.config("batch", batches={"missing_lines": 0.2})
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    assert max(night.desk.answered.values()) == 1, "under an id of its own"
    cost = report.data["cost"]
    assert cost["unconfirmed_usd"] > 0
    assert cost["spent_usd"] > night.billed, "what may have been answered may have been charged"
    assert rows(night.folder, "SELECT count(*) FROM asked WHERE fate = 'again'")[0][0] > 0


@pytest.mark.parametrize("dialect", ["plain", "mistral"])
async def test_a_field_that_is_refused_is_left_out(dialect: str, night: Night) -> None:
    config = await night.config(
        "batch", dialect, batches={"refused_field": "seed"} if dialect == "plain" else {}
    )
    report = await run_in(night.folder, config)
    assert report.outcome == "target", report.data["message"]
    check(night)
    if dialect == "plain":
        assert rows(night.folder, "SELECT count(*) FROM parts WHERE state = 'void'")[0][0] in (1, 2)


async def test_what_is_refused_for_good_ends_the_run_in_the_providers_words(night: Night) -> None:
    config = await night.config("batch", batches={"refused_field": "messages"})
    report = await run_in(night.folder, config)
    assert report.outcome == "fatal"
    assert "Unsupported parameter: 'messages'" in report.data["message"]
    assert report.data["cost"]["spent_usd"] < 0.001, "that of the first call, which was online"
    check(night)


@pytest.mark.parametrize("dialect", ["plain", "anthropic"])
async def test_an_empty_account_stops_the_run_and_keeps_what_came(dialect: str, night: Night) -> None:
    config = await night.config("batch", dialect, credit=0.01, price={"input": 1.0, "output": 2.0})
    report = await run_in(night.folder, config)
    assert report.outcome == "fatal"
    assert "no credit left" in report.data["message"]
    kept = rows(night.folder, "SELECT count(*) FROM asked WHERE fate = 'answered'")[0][0]
    assert kept == sum(night.desk.answered.values()) > 0


async def test_one_bad_line_is_asked_online_and_the_others_again(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose validation fails for one of its lines is charged nothing; that call finds out online."""
    import engine.simulator.batches.openai as played

    checked, failed = played.checked, []

    def once(*given: Any, **named: Any) -> Any:
        calls, errors = checked(*given, **named)
        if not failed and len(calls) > 20:
            failed.append(calls[2][0])
            errors = [
                {"code": "invalid_value", "message": "Invalid 'messages'.", "param": "messages", "line": 3}
            ]
        return calls, errors

    monkeypatch.setattr(played, "checked", once)
    config = await night.config("batch", more={"generate": {"target": 90}})
    report = await run_in(night.folder, config)
    assert report.outcome == "target"
    check(night)
    [(key,)] = rows(night.folder, "SELECT key FROM asked WHERE id = ? AND fate = 'online'", failed[0])
    assert rows(night.folder, "SELECT count(*) FROM asked WHERE key = ?", key) == [(1,)], (
        "it joins no batch again"
    )
    assert rows(night.folder, "SELECT count(*) FROM calls WHERE key = ?", key) == [(1,)]


async def test_a_batch_that_is_gone_ends_the_run_and_its_worst_case_stays(night: Night) -> None:
    config = await night.config("batch", batches={"day_s": 60.0, "quickest": 0.5, "slowest": 0.6})
    desk = night.desk

    async def vanish() -> None:
        while not desk.batches:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        desk.batches.clear()

    vanishing = asyncio.create_task(vanish())
    report = await run_in(night.folder, config)
    await vanishing
    assert report.outcome == "fatal"
    assert "does not know the batch" in report.data["message"]
    assert report.data["batches"]["open_parts"] == 1
    assert report.data["batches"]["set_aside_usd"] > 0


# --- other modes, other settings --------------------------------------------------------------------


async def test_an_audit_in_batches(night: Night, tmp_path: Path, problems: Path) -> None:
    from engine.runs.api import audit

    config = await night.config("batch")
    config = config.changed(groupcheck=None)
    report = await audit(config, night.folder)
    assert report.outcome == "target"
    check(night)
    online = config.changed(limits=config.limits.model_copy(update={"mode": "online"}))
    await audit(online, tmp_path / "online")
    assert lines_of(night.folder) == lines_of(tmp_path / "online")


def lines_of(folder: Path) -> list[Any]:
    return [{k: v for k, v in row.items() if k != "_meta"} for row in lines(folder / "accepted.jsonl")]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"limits": {"mode": "auto", "hedge": True}}, "hedge is for calls whose answer is waited for"),
        ({"limits": {"mode": "batch", "finish_by": "07:00"}}, "mode: auto ends online in time"),
        (
            {"limits": {"mode": "auto"}, "generate": {"learn_from_mistakes": True}},
            "learn_from_mistakes needs",
        ),
        ({"limits": {"mode": "batch"}, "groupcheck": {"on_duplicate": "retry"}}, "on_duplicate: retry needs"),
        ({"limits": {"mode": "batch", "batch": {"wait": "5 weeks"}}}, "wait"),
    ],
)
def test_what_needs_answers_at_once_is_refused(sections: dict[str, Any], said: str, configs: Configs) -> None:
    with pytest.raises(ConfigError, match=said):
        configs.load("http://127.0.0.1:9/v1", **sections)


def test_a_duration_has_a_unit(configs: Configs) -> None:
    for text, seconds in (("90m", 5400.0), ("6h", 21_600.0), ("1d", 86_400.0), (7200, 7200.0)):
        config = configs.load("http://127.0.0.1:9/v1", limits={"batch": {"wait": text}})
        assert config.limits.batch.wait == seconds


def test_an_endpoint_without_batches_is_told(configs: Configs) -> None:
    from engine.runs.modes import GenerateMode

    config = configs.load("http://127.0.0.1:9/v1", limits={"mode": "auto"})
    with pytest.raises(ConfigError, match="needs an endpoint with a batch API"):
        GenerateMode().load(config)


@pytest.mark.parametrize(
    ("address", "api"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("https://api.together.xyz/v1", "together"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini"),
        ("https://notopenai.com/v1", "none"),
        ("http://127.0.0.1:8000/v1", "none"),
    ],
)
def test_whose_batches_an_address_has(address: str, api: str, configs: Configs) -> None:
    model = {"name": "m", "base_url": address}
    assert batch_api(RunConfig.model_validate({**configs.settings(address), "model": model}).main) == api


async def test_a_check_asks_whether_batches_may_be_listed(night: Night) -> None:
    await night.config("auto")
    path = night._configs.folder / "config.yaml"
    status, out, err = await finished(await datagen("check", path))
    assert status == 0, out + err
    assert "takes them; $0.5 in, $1 out, per million tokens" in out
    night.desk.batches = None
    status, out, _ = await finished(await datagen("check", path))
    assert status == 4
    assert "batches              FAILED" in out
