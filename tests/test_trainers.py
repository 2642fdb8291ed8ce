"""What trainers make of the exports, by their own reading code: TRL, LLaMA-Factory, Axolotl, OpenAI's types."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from pydantic import TypeAdapter

from engine.config import FieldsConfig
from engine.dataset.fields import Fields
from engine.dataset.labels import LabelStyle
from engine.dataset.pairs import PairStyle
from engine.errors import ConfigError
from engine.exports.formats import FORMS, export, misfit
from engine.schema.columns import schema_of

Rows = list[dict[str, Any]]
CALL = {
    "type": "function",
    "function": {"name": "weather", "arguments": '{"town": "Ulm", "days": 2}'},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather.",
            "parameters": {
                "type": "object",
                "properties": {"town": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["town"],
            },
        },
    }
]


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


DATASETS: Mapping[str, tuple[dict[str, Any], Rows]] = {
    "answers": (
        {"text": "q", "label": "a"},
        [{"q": "What is one and one?", "a": "2"}, {"q": "And two and two?", "a": "4"}],
    ),
    "choices": (
        {"text": "q", "choices": "c", "label": "a"},
        [
            {"q": "Which?", "c": ["red", "blue"], "a": "B"},
            {"q": "Which one?", "c": ["x", "y", "z"], "a": "A"},
        ],
    ),
    "instructions": (
        {"text": ["instruction", "input"], "label": "output"},
        [
            {"instruction": "Add.", "input": "1 1", "output": "2"},
            {"instruction": "Name a town.", "input": "", "output": "Ulm"},
        ],
    ),
    "solutions": (
        {"text": "q", "solution": "a", "label": {"field": "a", "pattern": "#### (.+)"}},
        [{"q": "How many?", "a": "One and one are two.\n#### 2"}, {"q": "And?", "a": "It is three.\n#### 3"}],
    ),
    "conversations": (
        {"messages": "messages"},
        [
            {"messages": [said("user", "Hello?"), said("assistant", "Good day.")]},
            {
                "messages": [
                    said("system", "Be brief."),
                    said("user", "One?"),
                    said("assistant", "1"),
                    said("user", "Two?"),
                    said("assistant", "2"),
                ]
            },
        ],
    ),
    "calls": (
        {"messages": {"field": "messages", "tools": "tools"}},
        [
            {
                "messages": [
                    said("user", "Will it rain in Ulm?"),
                    said("assistant", "", tool_calls=[CALL]),
                    said("tool", '{"rain": true}'),
                    said("assistant", "It will."),
                ],
                "tools": TOOLS,
            }
        ]
        * 2,
    ),
    "pairs": (
        {"text": "prompt", "chosen": "chosen", "rejected": "rejected"},
        [
            {"prompt": "Say hello.", "chosen": "Hello!", "rejected": "No."},
            {"prompt": "Say bye.", "chosen": "Goodbye!", "rejected": "Never."},
        ],
    ),
    "pairs of messages": (
        {"chosen": "chosen", "rejected": "rejected"},
        [
            {
                "chosen": [said("user", "Hi."), said("assistant", "Hello!")],
                "rejected": [said("user", "Hi."), said("assistant", "What?")],
            }
        ]
        * 2,
    ),
    "judged": (
        {"text": ["prompt", "completion"], "label": "label"},
        [
            {"prompt": "Say hello.", "completion": "Hello!", "label": True},
            {"prompt": "Say bye.", "completion": "No.", "label": False},
        ],
    ),
}


def fields_of(name: str) -> Fields:
    given, rows = DATASETS[name]
    pair = PairStyle(True, True) if name == "pairs of messages" else PairStyle()
    schema = schema_of(rows)
    return Fields(FieldsConfig.model_validate(given), LabelStyle("letters"), schema=schema, pair=pair)


def fitting(*prefixes: str) -> list[tuple[str, str]]:
    return [
        (name, form)
        for form in FORMS
        if form.startswith(prefixes)
        for name in DATASETS
        if misfit(form, fields_of(name)) is None
    ]


def written(name: str, form: str, folder: Path) -> Path:
    path = folder / f"set.{'json' if form.startswith(('alpaca', 'sharegpt')) else 'jsonl'}"
    rows = DATASETS[name][1]
    assert export({"": lambda: rows}, form, path, fields_of(name), "Answer.", meta=False) == len(rows)
    return path


def loaded(path: Path) -> Rows:
    """The rows as the trainers get them: by Hugging Face's `datasets`."""
    import datasets

    datasets.disable_progress_bars()
    found = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(path.parent / "c")
    )
    return list(found)


def test_every_kind_has_a_format_of_every_trainer() -> None:
    for name in DATASETS:
        readers = {form.split("-")[0] for form in FORMS if misfit(form, fields_of(name)) is None}
        trainers = readers & {"trl", "openai", "axolotl", "sharegpt"}
        assert trainers >= (
            {"trl", "sharegpt"} if name == "judged" else {"trl", "openai", "axolotl", "sharegpt"}
        ), name


@pytest.mark.parametrize(
    ("form", "said"), [("trl-preference", "pairs of"), ("sharegpt-kto", "true or false")]
)
def test_what_does_not_fit_says_why(form: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        export({"": lambda: []}, form, tmp_path / "x", fields_of("answers"), "", meta=False)
    assert not list(tmp_path.iterdir())


# --- TRL -------------------------------------------------------------------------------------------


@cache
def tokenizer() -> Any:
    """A tokenizer of bytes with a chat template, made here: no model is loaded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {char: place for place, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    special = {"<s>": 300, "</s>": 301, "<|im_start|>": 302, "<|im_end|>": 303}
    made = Tokenizer(models.BPE({**alphabet, **special}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    ends = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "</s>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=made, **ends)
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    fast.chat_template = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{{ message.content or '' }}{% for call in message.tool_calls or [] %}{{ call.function.name }}"
        "{{ call.function.arguments | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return fast


@pytest.mark.parametrize(("name", "form"), fitting("trl"))
def test_trl(name: str, form: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl.data_utils", reason="TRL is not installed")
    for row in loaded(written(name, form, tmp_path)):
        assert trl.is_conversational(row)
        if form == "trl-preference":
            row = trl.maybe_extract_prompt(row)
            assert [message["role"] for message in row["chosen"]] == ["assistant"]
        row = {key: value for key, value in row.items() if value is not None}
        text = trl.apply_chat_template(row, tokenizer(), tools=row.get("tools"))
        wanted = {
            "trl": {"prompt", "completion"},
            "trl-messages": {"text"},
            "trl-prompt": {"prompt"},
            "trl-preference": {"prompt", "chosen", "rejected"},
            "trl-kto": {"prompt", "completion", "label"},
        }[form]
        assert text.keys() == wanted
        assert all(value for value in text.values() if isinstance(value, str))
        if "rejected" in text:
            assert text["chosen"] != text["rejected"]
            assert text["prompt"] not in text["chosen"]
        if name == "calls" and form == "trl-messages":
            assert '"town": "Ulm"' in text["text"]


# --- LLaMA-Factory ---------------------------------------------------------------------------------


@pytest.fixture
def llama_factory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Rows]:
    """Reads a file as LLaMA-Factory does: by dataset_info.json and its converter."""
    sound = types.ModuleType(
        "torchaudio"
    )  # imported with the room of images and sounds, and never used for text
    sound.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio", sound)
    converter = pytest.importorskip("llamafactory.data.converter", reason="LLaMA-Factory is not installed")
    parser = pytest.importorskip("llamafactory.data.parser")

    def read(path: Path) -> Rows:
        [attributes] = parser.get_dataset_list([path.stem], str(path.parent))
        assert attributes.dataset_name == path.name
        convert = converter.get_dataset_converter(
            attributes.formatting, attributes, types.SimpleNamespace(media_dir=".")
        )
        return [convert(row) for row in loaded(path)]

    return read


@pytest.mark.parametrize(("name", "form"), fitting("alpaca", "sharegpt"))
def test_llama_factory(name: str, form: str, tmp_path: Path, llama_factory: Callable[[Path], Rows]) -> None:
    for row in llama_factory(written(name, form, tmp_path)):
        assert row["_prompt"], "LLaMA-Factory skips a row whose turns it cannot read"
        assert len(row["_prompt"]) % 2 == 1
        answers = [message["content"] for message in row["_response"]]
        if form.endswith("-preference"):
            assert len(answers) == 2
            assert answers[0] != answers[1]
        elif form.endswith("-kto"):
            assert [bool(answer) for answer in answers] in ([True, False], [False, True])
        else:
            assert len(answers) == 1
        assert any(answers)
        if name == "calls":
            assert "weather" in row["_tools"]


# --- Axolotl ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), fitting("axolotl"))
def test_axolotl(name: str, form: str, tmp_path: Path) -> None:
    chat = pytest.importorskip("axolotl.prompt_strategies.chat_template", reason="Axolotl is not installed")
    dpo = pytest.importorskip("axolotl.prompt_strategies.dpo.chat_template")
    dictionary = pytest.importorskip("axolotl.utils.dict").DictDefault
    path = written(name, form, tmp_path)
    settings = yaml.safe_load((tmp_path / "set.axolotl.yml").read_text())
    assert (tmp_path / settings["datasets"][0]["path"]) == path
    config = dictionary(
        {**settings, "chat_template": "chatml", "sequence_len": 4096, "train_on_inputs": False}
    )
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for row in rows:
        if form == "axolotl-preference":
            made = dpo.default(config)[0] if isinstance(dpo.default(config), tuple) else dpo.default(config)
            found = made(row, tokenizer=tokenizer())
            assert found["chosen"] != found["rejected"]
            assert found["prompt"]
            continue
        strategy = chat.load(tokenizer(), config, config["datasets"][0])
        found = strategy.tokenize_prompt(row)
        trained = [
            token for token, label in zip(found["input_ids"], found["labels"], strict=True) if label != -100
        ]
        assert trained, "nothing of it would be trained on"


# --- OpenAI ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), fitting("openai"))
def test_openai(name: str, form: str, tmp_path: Path) -> None:
    chat = pytest.importorskip("openai.types.chat")
    messages: TypeAdapter[Any] = TypeAdapter(list[chat.ChatCompletionMessageParam])
    for line in written(name, form, tmp_path).read_bytes().splitlines():
        row = orjson.loads(line)
        lists = [row["messages"]] if form == "openai" else [row["input"]["messages"]]
        if form == "openai-preference":
            assert row.keys() == {"input", "preferred_output", "non_preferred_output"}
            for name_of in ("preferred_output", "non_preferred_output"):
                [answer] = row[name_of]
                assert answer["role"] == "assistant"
        for listed in lists:
            messages.validate_python(listed)
            called = [call["id"] for each in listed for call in each.get("tool_calls", ())]
            assert called == [each["tool_call_id"] for each in listed if each["role"] == "tool"]
        if name == "calls":
            assert row["tools"] == TOOLS
