"""No secret that the engine knows is written or shown, whoever brought it, and however it is spelled."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import Configs, datagen, finished, run_in
from engine.config import RunConfig
from engine.veil import SHORTEST, forget, hide, spellings, veiled
from faults.provider import Asked, Provider, echo, items, provided

KEY = "sk-live/4f+8c=2b7e91"
SECRETS = {
    "API_KEY_OF_TEST": KEY,
    "PATH_KEY_OF_TEST": "path-key-77aa88bb",
    "QUERY_KEY_OF_TEST": "query-key-9c9d",
    "BODY_KEY_OF_TEST": "body-key-55ee66ff",
    "HEADER_KEY_OF_TEST": "header-key-11cc22",
}


@pytest.mark.parametrize(
    "spelled",
    [
        lambda key: key,
        lambda key: f"Bearer {key}",
        lambda key: quote(key),
        lambda key: quote(key, safe=""),
        lambda key: quote_plus(key).replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        json.dumps,
        lambda key: json.dumps({"key": key}).replace("/", "\\/"),
        html.escape,
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
        lambda key: base64.b64encode(f"me:{key}@".encode()).decode(),
        lambda key: base64.urlsafe_b64encode(f"{key}:".encode()).decode(),
    ],
)
def test_every_spelling_is_known(spelled: Any) -> None:
    hide(KEY, "${KEY}")
    found = veiled(f"before {spelled(KEY)} after")
    assert "${KEY}" in found
    assert "4f" not in found.replace("${KEY}", "")
    assert found.startswith("before ")
    assert found.endswith(" after")


@given(
    st.text(min_size=SHORTEST, max_size=40).filter(lambda text: len(text.strip()) == len(text) >= SHORTEST)
)
def test_any_value_is_found_in_any_spelling(value: str) -> None:
    forget()
    hide(value, "\0")
    for spelled in spellings(value):
        assert len(spelled) >= SHORTEST
        assert spelled not in veiled(f"<{spelled}>")


def test_short_values_are_part_of_words() -> None:
    hide("x", "${X}")
    assert veiled("x marks the box") == "x marks the box"


def test_the_longest_secret_comes_first() -> None:
    hide("secret-one", "${A}")
    hide("secret-one-and-more", "${B}")
    assert veiled("secret-one-and-more, secret-one") == "${B}, ${A}"


def config_with_secrets(configs: Configs, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return configs.write(
        url,
        generate={"target": 6, "batch_size": 3},
        limits={"concurrency": 1, "retries": 2},
        model={
            "name": "m",
            "base_url": url + "/${PATH_KEY_OF_TEST}/v1?key=${QUERY_KEY_OF_TEST}",
            "api_key": "${API_KEY_OF_TEST}",
            "headers": {"X-Own": "${HEADER_KEY_OF_TEST}"},
            "extra_body": {"own": {"deep": ["${BODY_KEY_OF_TEST}"]}},
            "price": {"input": 1.0, "output": 2.0},
        },
        observe={"page": True},
    )


def traces_of(secret: str, text: str) -> list[str]:
    return [spelled for spelled in spellings(secret) if spelled in text]


def everything(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "run.db" for path in files)
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


def mirrored(asked: Asked) -> str:
    """Items that hold all that the request held."""
    made = orjson.loads(items(asked))
    made["items"][0]["question"] += f" {asked.head} {orjson.dumps(asked.body.get('own')).decode()}"
    return orjson.dumps(made).decode()


@pytest.mark.parametrize("ends", ["well", "refused", "redirected"])
async def test_no_secret_of_a_run_is_written_or_shown(
    ends: str, tmp_path: Path, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint repeats the whole request: in answers, in refusals, in the place that it redirects to."""
    last = {"well": None, "refused": echo(401), "redirected": echo(302)}[ends]
    provider = Provider(lambda number: [echo(500), echo(429), None, last][number] if number < 4 else None)
    provider.content = mirrored
    async with provided(provider) as url:
        path = config_with_secrets(configs, url.removesuffix("/v1"), monkeypatch)
        folder = tmp_path / "run"
        code, out, err = await finished(await datagen("run", path, "-o", folder))
    assert code == (0 if ends == "well" else 4), err
    seen = provider.account.asked[0]
    assert seen.head.startswith("POST /path-key-77aa88bb/v1/chat/completions?key=query")
    assert seen.header("Authorization") == f"Bearer {KEY}"
    written = everything(folder)
    for name, secret in SECRETS.items():
        assert traces_of(secret, written) == [], name
        assert traces_of(secret, out + err) == [], name
        assert f"${{{name}}}" in (folder / "config.yaml").read_text()
    if ends == "redirected":
        assert "redirects to the host elsewhere.example" in out + err
    again = RunConfig.load(folder / "config.yaml")
    assert again.main.base_url.endswith("v1?key=query-key-9c9d")


def test_a_variable_of_the_dataset_is_no_secret(
    configs: Configs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOPIC_OF_TEST", "sums of small numbers")
    monkeypatch.setenv("HOST_OF_TEST", "models_of_example_org")
    settings = configs.settings(
        "https://${HOST_OF_TEST}/v1", dataset={"description": "About ${TOPIC_OF_TEST}"}
    )
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    written = RunConfig.load(path).without_secrets()
    assert written["dataset"]["description"] == "About sums of small numbers"
    assert written["model"]["base_url"] == "https://${HOST_OF_TEST}/v1"
    path.write_text(yaml.safe_dump({**settings, "public_variables": ["HOST_OF_TEST"]}))
    public = RunConfig.load(path).without_secrets()
    assert public["model"]["base_url"] == "https://models_of_example_org/v1"


async def test_a_mistake_in_a_config_does_not_show_a_secret(
    configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_OF_TEST", "ftp://host/with-a-key-in-it")
    path = configs.write("${PLACE_OF_TEST}")
    code, out, err = await finished(await datagen("check", path))
    assert code == 2
    assert "with-a-key-in-it" not in out + err
    assert "base_url" in out + err


async def test_what_another_endpoint_is_told_holds_no_secret(tmp_path: Path, configs: Configs) -> None:
    """A key that one endpoint repeats in its items does not go to the next in a prompt."""
    hide(KEY, "${KEY}")
    first = Provider()
    first.content = lambda asked: orjson.dumps(
        {"items": [{"question": f"Who has {KEY}?", "answer": "1"}]}
    ).decode()
    second = Provider()
    second.content = lambda asked: orjson.dumps({"good": True, "is_good": "yes", "feedback": ""}).decode()
    async with provided(first) as url, provided(second) as other:
        config = configs.load(
            url,
            generate={"target": 1, "batch_size": 1},
            validators=["reflection"],
            model={
                "name": "m", "base_url": url, "price": {"input": 1.0, "output": 2.0},
                "purposes": {"review": {"name": "r", "base_url": other}},
            },
            limits={"concurrency": 1, "attempts": 2},
        )  # fmt: skip
        await run_in(tmp_path / "run", config)
    assert second.account.asked
    assert all(KEY not in orjson.dumps(asked.body).decode() for asked in second.account.asked)


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("localhost", False),
        ("http://127.0.0.1:8000/v1", False),
        ("https://api.example.com", False),
        ("models.example.org:8443", False),
        ("https://api.example.com/v1/key-1234", True),
        ("https://api.example.com/v1?key=1234", True),
        ("0123456789abcdef", True),
        ("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", True),
    ],
)
def test_a_host_is_no_secret(
    value: str, secret: bool, configs: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stand in items; what comes after it may be a key."""
    monkeypatch.setenv("VALUE_OF_TEST", value)
    configs.load("http://127.0.0.1:9/v1", model={"extra_body": {"x": "${VALUE_OF_TEST}"}})
    assert (veiled(f"see {value} there") == f"see {value} there") is not secret
