"""Which model keeps which constraint, each by itself, strictly and loosely."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from conftest import Configs, Start, datagen, finished
from engine.bench.following import followed, following_tables, likenesses
from engine.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Sure:\n**HELLO**", "HELLO"),
        ("one\ntwo\nthree", "two"),
        ("*a*", "a"),
    ],
)
def test_likenesses_are_those_of_ifeval(text: str, wanted: str) -> None:
    assert wanted in likenesses(text)
    assert text not in likenesses(text)
    assert "" not in likenesses(text)


async def test_each_rule_is_asked_of_each_model(endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint(kind="word_problems")
    config = configs.load(
        url,
        dataset={
            "constraints": [{"count": {"of": "bullets", "min": 3}}, {"length": {"max": 60}}, "Be kind."]
        },
        evaluate={"models": [{"name": "one", "base_url": url}, {"name": "two", "base_url": url}]},
    )
    said: list[str] = []
    found = await followed(config, 5, said.append)
    assert [(each.model, each.asked, each.read) for each in found.results] == [
        ("one", 5, 5), ("one", 5, 5), ("two", 5, 5), ("two", 5, 5),
    ]  # fmt: skip
    assert [each.strict for each in found.results] == [0, 5, 0, 5], "it writes no bullets, and no long texts"
    assert simulator.statistics.purposes["items"] == 20
    assert len(said) == 2
    [listing] = following_tables(found)
    assert listing.heads == ["rule", "one, strict", "one, loose", "two, strict", "two, loose"]
    assert listing.rows[1][1] == "1.00 (0.57 to 1.00)"


async def test_the_cap_holds(endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    config = configs.load(
        url, dataset={"constraints": [{"length": {"max": 60}}]}, limits={"budget_usd": 0.02, "concurrency": 2}
    )
    found = await followed(config, 400, lambda _: None)
    assert found.ended
    assert 0 < found.spent_usd <= 0.02
    assert 0 < found.results[0].read < 400


async def test_without_a_rule_there_is_nothing_to_keep(configs: Configs) -> None:
    with pytest.raises(ConfigError, match="holds no rule that a program can check"):
        await followed(configs.load("http://127.0.0.1:1/v1"), 3, lambda _: None)


async def test_the_command(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, _ = await endpoint()
    path = configs.write(url, dataset={"constraints": [{"case": "lower"}]})
    process = await datagen("bench", path, "--constraints", "4", "-o", tmp_path / "out")
    code, out, err = await finished(process)
    assert code == 0, err
    assert "Which model keeps which constraint" in out or "m, strict" in out
    kept = orjson.loads((tmp_path / "out" / "bench.json").read_bytes())
    assert kept["results"][0]["read"] == 4
