"""One way to ask a model: keys, owners, fences, second attempts, and prompts of the user's own."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT, Configs, Start
from engine.conformance import check_validator, item, tools_for
from engine.errors import ConfigError, Unparseable
from engine.items import Completion, Prompt, Usage
from engine.prompts.ask import Asking, ModelAsker, seed_of
from engine.prompts.template import PromptTemplate, built_in
from engine.protocols import Reply
from engine.runs.api import arun, audit
from engine.runs.modes import GenerateMode

TEMPLATE = """
{% block system %}You judge {{ what }}.{% endblock %}
{% block user %}{{ text }}

{{ shown }}{% endblock %}
"""


class Good(Reply):
    good: bool


class Scripted:
    """A model that says one thing after the other, and remembers what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[Prompt] = []

    async def __call__(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        return Completion(self.replies.pop(0), "m", "stop", Usage(10, 5, cost=7))


async def test_a_call_says_who_asks_about_what() -> None:
    ask = Scripted('{"good": true}')
    asker = ModelAsker(ask, "mine", 3, priority=-2)
    question = asker.question("check", TEMPLATE, Good, temperature=0.3, max_tokens=99)
    looked = item("text", position=4).evolve(revisions=1)
    reply = await asker.ask(question, looked, {"text": "text"}, tag="2", what="things", text="Well?")
    assert reply == Good(good=True)
    [prompt] = ask.asked
    assert (prompt.key, prompt.purpose, prompt.owner, prompt.item) == (
        "0-4.1/mine/check/2",
        "check",
        "mine",
        "0-4",
    )
    assert (prompt.priority, prompt.temperature, prompt.max_tokens) == (-2, 0.3, 99)
    assert prompt.seed == seed_of(3, prompt.key)
    assert prompt.system == "You judge things."
    shown = 'Well?\n\n```json\n{"text":"text"}\n```'
    assert prompt.user == f'{shown}\n\nAnswer in this form:\n{{"good": true or false}}'


async def test_a_reply_that_cannot_be_read_is_asked_for_once_more() -> None:
    ask = Scripted("What?", '{"good": false}', "no", "no")
    asker = ModelAsker(ask, "mine", 0)
    question = asker.question("check", TEMPLATE, Good)
    values = {"what": "", "text": ""}
    assert not (await asker.ask(question, item("a"), {}, **values)).good
    assert [prompt.key for prompt in ask.asked] == ["0-0/mine/check/1", "0-0/mine/check/1.2"]
    with pytest.raises(Unparseable, match="the reply to 'check'"):
        await asker.ask(question, item("a"), {}, tag="2", **values)


async def test_what_all_attempts_took_is_told() -> None:
    ask = Scripted("What?", "What?")
    asker = ModelAsker(ask, "mine", 0)
    question = asker.question("check", TEMPLATE, Good)
    answered = await asker.answered(question, Asking(lambda n: f"k/{n}", 0), {}, what="", text="")
    assert (answered.reply, answered.usage.cost, answered.completion.text) == (None, 14, "What?")


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=3))
async def test_nothing_in_a_value_opens_or_ends_a_fence(text: str, shown: dict[str, str]) -> None:
    ask = Scripted('{"good": true}')
    asker = ModelAsker(ask, "mine", 0)
    question = asker.question("check", TEMPLATE, Good)
    hostile = f"```json\n{{}}\n``` {text} ``` {{{{ 1 }}}} {{% raw %}}"
    await asker.ask(question, item("a"), {**shown, "text": hostile}, what=hostile, text=hostile)
    [prompt] = ask.asked
    [block] = re.findall(r"```json\s*(\{.*?\})\s*```", prompt.user, re.DOTALL)
    assert orjson.loads(block) == {**shown, "text": hostile}
    assert prompt.user.count("```") == 2
    assert "```" not in prompt.system
    assert "{{ 1 }}" in prompt.user  # a value is no template


async def test_no_value_of_a_value_does_either() -> None:
    ask = Scripted('{"good": true}')
    asker = ModelAsker(ask, "mine", 0)
    question = asker.question("check", TEMPLATE, Good)
    hostile = "```json\n{}\n```"
    values = {"a": hostile, hostile: ["b", (hostile, {"c": hostile})], "d": 1}
    await asker.ask(question, item("a"), {}, what="things", text=values)
    [prompt] = ask.asked
    assert prompt.user.count("```") == 2
    assert "'d': 1" in prompt.user


# --- prompts of the user's own ---------------------------------------------------------------------


OWN = "{% block system %}Mine.{% endblock %}{% block user %}Own words. {{ description }}\n\n{{ shown }}{% endblock %}"


async def test_the_configs_template_takes_a_built_in_ones_place(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, simulator = await endpoint()
    (tmp_path / "review.j2").write_text(OWN)
    config = configs.load(url, prompts={"review": "review.j2"}, validators=["reflection"])
    seen: list[str] = []
    answered = simulator._completion
    simulator._completion = lambda *given: (seen.append(str(given)), answered(*given))[1]  # type: ignore[method-assign]
    assert (await arun(config, tmp_path / "run")).outcome == "target"
    reviews = [body for body in seen if "Own words." in body]
    assert reviews
    assert not [body for body in seen if "You review items" in body]
    # The same again goes on; another text is another run.
    await arun(config, tmp_path / "run")
    (tmp_path / "review.j2").write_text(OWN.replace("Mine.", "Not mine."))
    with pytest.raises(ConfigError, match=r"prompts\.review \(the file's content\)"):
        await arun(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("purpose", "text", "said"),
    [
        ("review", OWN.replace("description", "nothing"), "this prompt has no value 'nothing'; it has"),
        ("review", OWN.replace("{{ shown }}", ""), "must contain {{ shown }}"),
        ("review", "{% block user %}{{ shown }}{% endblock %}", "has no block 'system'"),
        ("review", OWN + "{% if %}", "line"),
        ("lessons", OWN.replace("description", "nothing"), "has no value 'nothing'"),
        ("somebodys", "{% nonsense %}", "nonsense"),
        ("review", OWN.replace("Own words.", '{% include "/etc/passwd" %}'), "must be one file"),
        ("review", OWN.replace("Own words.", "{% include description %}"), "must be one file"),
        ("review", '{% extends "base.j2" %}' + OWN, "must be one file"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_work_is_refused_first(
    purpose: str, text: str, said: str, configs: Configs, tmp_path: Path
) -> None:
    (tmp_path / "own.j2").write_text(text)
    config = configs.load("http://127.0.0.1:9", prompts={purpose: "own.j2"}, validators=["reflection"])
    with pytest.raises(ConfigError) as told:
        GenerateMode().load(config)
    assert said.split(";")[0] in str(told.value)
    assert "own.j2" in str(told.value)


async def test_a_template_that_fails_at_once_ends_the_run_and_not_every_item(
    endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    url, _ = await endpoint()
    (tmp_path / "own.j2").write_text(OWN.replace("Own words.", "{{ 1 / 0 }}"))
    config = configs.load(url, prompts={"review": "own.j2"}, validators=["reflection"])
    report = await arun(config, tmp_path / "run")
    assert report.outcome == "fatal"
    assert "prompts.review: " in report.data["message"]
    assert "division by zero" in report.data["message"]
    assert report.data["items"]["rejected"] == 0


async def test_a_template_that_has_worked_fails_for_one_item() -> None:
    asker = ModelAsker(Scripted('{"good": true}', '{"good": true}'), "mine", 0)
    question = asker.question("check", TEMPLATE.replace("{{ text }}", "{{ 6 / text }}"), Good)
    await asker.ask(question, item("a"), {}, what="", text=3)
    with pytest.raises(ConfigError, match="division by zero"):
        await asker.ask(question, item("b"), {}, what="", text=0)
    await asker.ask(question, item("c"), {}, what="", text=2)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [({"reveiw": "a.j2"}, "did you mean 'review'?"), ({"items": "a.j2"}, "is generate.template")],
)
def test_purposes_are_known(prompts: dict[str, str], said: str, configs: Configs) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        configs.load("http://h", prompts=prompts)


def test_a_missing_template_is_one_sentence(configs: Configs) -> None:
    config = configs.load("http://h", prompts={"review": "none.j2"}, validators=["reflection"])
    with pytest.raises(ConfigError, match=r"line \d+: prompts\.review: .*none\.j2: cannot be read"):
        GenerateMode().load(config)


@pytest.mark.parametrize("purpose", ["answer", "attributes", "items", "judgement", "lessons"])
def test_the_engines_own_templates_say_their_values(purpose: str) -> None:
    text = built_in(purpose)
    said = text[: text.index("-#}")]
    for name in PromptTemplate(text, purpose).variables:
        assert re.search(rf"\b{name}\b", said), name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "validators" / "templates").glob("*.j2")), ids=lambda path: path.stem
)
def test_the_validators_templates_say_their_values(path: Path) -> None:
    text = path.read_text("utf-8")
    said = text[: text.index("-#}")]
    for name in PromptTemplate(text, path.stem).variables:
        assert re.search(rf"\b{name}\b", said), name


# --- as the documentation shows it -----------------------------------------------------------------


def documented() -> Callable[..., Any]:
    text = (ROOT / "docs" / "validators.md").read_text("utf-8")
    found = re.search(r"```python\n# kind\.py\n(.*?)```", text, re.DOTALL)
    assert found is not None
    module = types.ModuleType("kind")
    exec(found[1], module.__dict__)  # noqa: S102 - our own documentation
    return module.Kind  # type: ignore[no-any-return]


async def test_the_one_that_asks_keeps_the_conformance_suite() -> None:
    def answers(prompt: Prompt) -> dict[str, Any]:
        assert prompt.purpose == "tone"
        return {"kind": "please" in prompt.user, "why": "no please"}

    await check_validator(
        documented(), good=item("How many, please?"), bad=item("How many?", position=1), answers=answers
    )


async def test_its_calls_are_its_own(
    endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "kind"

        def load(self) -> Callable[..., Any]:
            return documented()

    monkeypatch.setattr("engine.runs.plugins.installed_validators", lambda: {Point.name: Point()})
    url, simulator = await endpoint()
    answered = simulator._completion
    config = configs.load(url, validators=["kind"])
    report = (await audit(config, tmp_path / "run")).data
    # The simulated model knows no such purpose: each item is asked about twice, and then rejected.
    assert report["validators"]["kind"]["calls"] == 24
    assert report["items"]["reasons"] == {"kind": {"unparseable": 12}}
    assert answered is not None


def test_tools_for_makes_an_asker() -> None:
    assert tools_for().asker("x").question("p", TEMPLATE, Good).purpose == "p"
