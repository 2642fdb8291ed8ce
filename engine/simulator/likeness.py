"""Items like the examples in a request: its fields, labels, lengths and words, whatever the dataset is about."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from engine.simulator.request import Asked

Schema = Mapping[str, Any]
_NOUNS = (
    "anchor apron atlas badge balcony basket bell bench bicycle blanket boat bottle bridge broom bucket button cabin"
    " camera candle canvas carpet castle chair cheese clock cloud coach compass cottage crate curtain desk dial dock"
    " drum engine envelope factory feather fence ferry fiddle flag flute forest fountain garden gate glove harbour"
    " hammer harvest helmet hinge hotel island jacket jar kettle kitchen ladder lamp lantern ledger letter lighthouse"
    " magnet map market meadow medal mirror museum needle notebook orchard oven paddle painting parcel pencil piano"
    " pillow planet plough pocket pond puzzle quarry quilt radio raft railway recipe river rope saddle school scooter"
    " shelf shovel signal sofa spoon stable stairs station statue stove sweater tailor telescope tent theatre ticket"
    " timetable tower tractor trumpet tunnel umbrella valley violin wagon wallet weather whistle window workshop"
).split()
_QUALITIES = (
    "ancient awkward blue brisk broken calm careful cheap clever coarse cold copper crowded curious distant dusty"
    " early elegant empty faint famous fragile gentle golden green heavy hidden hollow honest icy late lively local"
    " lonely loud modest narrow noisy odd orange patient plain polite quick quiet rare rough round rusty salty sharp"
    " shiny silent simple slow smooth spare steep sturdy sudden tall thin tidy tiny warm wide wooden young"
).split()
_DEEDS = (
    "arrived borrowed carried counted described dropped followed found gathered ignored invited lifted measured mended"
    " missed moved noticed opened ordered painted polished praised questioned remembered repaired returned sold"
    " stopped studied traded visited watched welcomed wrapped"
).split()
_WORD = re.compile(r"\b[A-Za-z][a-z]{3,}\b")
_NAME = 20
"""Characters up to which a word is a name of something, such as a category, and stays what it is."""
_KEPT = 0.45
"""The share of an example's words that its likeness keeps."""


def like_examples(asked: Asked, chance: random.Random, wanted: str | None = None) -> dict[str, Any]:
    """One item with the fields that the request asks for; `wanted` is its label, if one is."""
    example = chance.choice(asked.examples) if asked.examples else {}
    item: dict[str, Any] = {}
    for name, schema in asked.properties.items():
        if name == "messages":
            item[name] = _conversation(schema, example.get(name), asked, chance)
        elif name not in ("label", "labels", "rejected"):
            item[name] = _value(name, schema, example.get(name), asked, chance)
    if "rejected" in asked.properties:
        item["rejected"] = _rejected(item.get("chosen"), asked, chance)
    if "label" in asked.properties:
        item["label"] = _label(asked.properties["label"], example, item, asked, chance, wanted)
    if "labels" in asked.properties:
        inner = asked.properties["labels"].get("properties", {})
        shown = example.get("labels") or {}
        item["labels"] = {
            name: _label(schema, {**example, "label": shown.get(name)}, item, asked, chance, None)
            for name, schema in inner.items()
        }
    return {name: item[name] for name in asked.properties if name in item}


def _value(name: str, schema: Schema, example: Any, asked: Asked, chance: random.Random) -> Any:
    """A value of that schema, like the example's."""
    if options := schema.get("enum"):
        return chance.choice(list(options))
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if isinstance(example, str) and len(example) <= _NAME and name != "text" and " " not in example:
        return chance.choice(
            [each[name] for each in asked.examples if isinstance(each.get(name), str)] or [example]
        )
    if isinstance(example, str) or (kind == "string" and example is None):
        return _text(example or "", schema, asked, chance)
    if kind == "array" or isinstance(example, list):
        return _list(name, schema, example, asked, chance)
    if schema.get("properties"):
        shown = example if isinstance(example, Mapping) else {}
        fields = schema["properties"].items()
        return {inner: _value(inner, part, shown.get(inner), asked, chance) for inner, part in fields}
    return _scalar(name, kind, example, asked, chance)


def scalar(schema: Schema, chance: random.Random) -> int | float:
    """A number within the schema's bounds."""
    low, high = schema.get("minimum", 1), schema.get("maximum", 9)
    if schema.get("type") == "number":
        return round(chance.uniform(float(low), float(high)), 3)
    return chance.randint(int(low), int(high))


def _scalar(name: str, kind: Any, example: Any, asked: Asked, chance: random.Random) -> Any:
    seen = [each[name] for each in asked.examples if isinstance(each.get(name), int | float)]
    if kind == "boolean" or isinstance(example, bool):
        return chance.random() < 0.5
    if kind == "integer" or isinstance(example, int):
        return chance.randint(int(min(seen, default=1)), int(max(seen, default=9)))
    if kind == "number" or isinstance(example, float):
        return round(chance.uniform(min(seen, default=0.0), max(seen, default=1.0)), 3)
    return example if example is not None else "general"


def _list(name: str, schema: Schema, example: Any, asked: Asked, chance: random.Random) -> list[Any]:
    inner = schema.get("items") or {}
    shown = example if isinstance(example, list) else []
    if inner == {} and shown:
        return shown  # what may be anything is what it was
    low, high = schema.get("minItems", 0), schema.get("maxItems", 64)
    count = min(max(len(shown) or 1, low), high)
    if options := inner.get("enum"):
        return chance.sample(list(options), min(max(count, 1), len(options), 3))
    made: list[Any] = []
    for place in range(count):
        for _ in range(20):
            value = _value(name, inner, shown[place % len(shown)] if shown else None, asked, chance)
            if value not in made:
                break
        made.append(value)
    return made


# --- text ------------------------------------------------------------------------------------------


def _text(example: str, schema: Schema, asked: Asked, chance: random.Random) -> str:
    """A text with the shape of the example: some words are kept, others are new."""
    if "pattern" in schema:
        return example or str(chance.randint(1, 99))
    if example[:1] in ("{", "["):  # JSON text
        return example
    if not example:
        return sentences(schema, chance) if not asked.examples or schema.get("minLength", 1) else ""
    if not re.search("[A-Za-z]", example) and " " not in example.strip()[:60]:  # a script without spaces
        return _shuffled(example, asked, chance)
    text = _WORD.sub(lambda match: _other_word(match[0], chance), example)
    text = re.sub(r"\b[1-9]\d?\b", lambda _: str(chance.randint(2, 98)), text)
    if not re.search(r"[A-Za-z]{4}", example):
        text = f"{example} {chance.choice(_NOUNS)}".strip() if len(example) < 40 else example
    most = schema.get("maxLength")
    return text[:most].rstrip() if isinstance(most, int) else text


def _other_word(word: str, chance: random.Random) -> str:
    if chance.random() < _KEPT:
        return word
    others = _DEEDS if word.endswith("ed") else _QUALITIES if chance.random() < 0.3 else _NOUNS
    other = chance.choice(others)
    return other.capitalize() if word[0].isupper() else other


def _shuffled(example: str, asked: Asked, chance: random.Random) -> str:
    """Clauses of several examples, or the beginning of one and the end of another."""
    texts = [str(value) for each in asked.examples for value in each.values() if isinstance(value, str)]
    clauses = [
        part for text in [example, *texts] for part in re.findall(r"[^。！？，、]+[。！？，、]?", text)
    ]
    count = len(re.findall(r"[。！？，、]", example))
    if count > 1:
        return "".join(chance.choice(clauses) for _ in range(count))
    other = chance.choice(texts or [example])
    return example[: len(example) // 2] + other[len(other) // 2 :]


def sentences(schema: Schema, chance: random.Random) -> str:
    """Plain sentences of about the length that the schema asks for."""
    least = min(max(int(schema.get("minLength", 30)), 30), 600)
    most = int(schema.get("maxLength", 10_000))
    said = ""
    while len(said) < least:
        quality, noun, deed, other = (chance.choice(words) for words in (_QUALITIES, _NOUNS, _DEEDS, _NOUNS))
        said = f"{said} The {quality} {noun} was {deed} near the {chance.choice(_QUALITIES)} {other}.".strip()
    return said[:most]


# --- labels, conversations, pairs ------------------------------------------------------------------


def _label(
    schema: Schema,
    example: Mapping[str, Any],
    item: Mapping[str, Any],
    asked: Asked,
    chance: random.Random,
    wanted: str | None,
) -> Any:
    if item.get("choices"):
        letters = ascii_uppercase[: len(item["choices"])]
        return wanted if wanted is not None and wanted in letters else chance.choice(letters)
    if wanted is not None:
        return [wanted] if schema.get("type") == "array" else wanted
    label = example.get("label")
    if schema.get("enum") or schema.get("items", {}).get("enum"):
        return _value("label", schema, label, asked, chance)
    texts = [value for name, value in item.items() if isinstance(value, str)]
    if _stand_in_text(asked):
        spans = [_span(max(texts, key=len, default="x"), chance)]
        return spans if schema.get("type") == "array" or isinstance(label, list) else spans[0]
    if label is None and schema.get("type") == "string":
        return chance.choice(_NOUNS)
    return _value("label", schema, label, asked, chance)


def _stand_in_text(asked: Asked) -> bool:
    """Whether every label stands in a text of its example."""

    def stands(example: Mapping[str, Any]) -> bool:
        label = example.get("label")
        labels = [label] if isinstance(label, str) else label if isinstance(label, list) else []
        texts = [value for name, value in example.items() if isinstance(value, str) and name != "label"]
        return bool(labels) and all(any(str(each) in text for text in texts) for each in labels)

    return bool(asked.examples) and all(map(stands, asked.examples))


def _span(text: str, chance: random.Random) -> str:
    words = list(re.finditer(r"\w+", text))
    if not words:
        return text
    first = chance.randrange(len(words))
    last = min(len(words) - 1, first + chance.randint(0, 2))
    return text[words[first].start() : words[last].end()]


def _conversation(schema: Schema, example: Any, asked: Asked, chance: random.Random) -> list[dict[str, Any]]:
    fields = schema.get("items", {}).get("properties", {})
    roles = fields.get("role", {}).get("enum", ["user", "assistant"])
    shown = example if isinstance(example, Sequence) and not isinstance(example, str) and example else None
    if shown is None:
        shown = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    made = []
    for message in shown:
        if message.get("role") not in roles and roles:
            continue
        spoken = message.get("role") in ("user", "assistant") and not message.get("tool_calls")
        content = (
            _text(str(message.get("content") or ""), {}, asked, chance)
            if spoken
            else message.get("content", "")
        )
        others = {name: message.get(name) for name in fields if name not in ("role", "content")}
        made.append({"role": message["role"], "content": content, **others})
    return made


def _rejected(chosen: Any, asked: Asked, chance: random.Random) -> Any:
    """Another answer than the chosen one."""
    said = chosen if isinstance(chosen, str) else ""
    words = said.split()
    return " ".join(words[: max(1, len(words) // 2)]) + f" {chance.choice(_NOUNS)}, perhaps."
