"""Items from passages, and whether passages bear an item out: the simulated model reads what it is given.

A question leaves a word or a number out of a sentence, so that its truth can be read off it: the answer is right if the
quote, with the answer in the gap, is that sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config.simulator import SimulatorConfig
from engine.simulator.likeness import like_examples
from engine.simulator.mistakes import errs
from engine.simulator.request import Asked

GAP = "____"
_ASKS = "What stands in the gap: {}"
_LEAK = "According to the passage, what stands in the gap: {}"
_NO_ANSWER = "How many {} has {} had since {}?"
_WORD = re.compile(r"[^\W_][\w'’-]{3,}|\d[\d.,]*\d|\d")
_DENIED = 0.5
"""Of questions that were to have no answer and have one: those whose label says that there is none."""
_LEAST, _MOST = 30, 400
"""Characters of a sentence from which a question is made."""


def from_passages(
    asked: Asked, knobs: SimulatorConfig, chance: random.Random, number: int, order: float
) -> dict[str, Any]:
    """One item in the requested form, with its evidence, and with the configured defects.

    `order`: of the sentences, for all items of a request.
    """
    if asked.no_answer and chance.random() >= knobs.answered_anyway:
        return _without_answer(asked, chance)
    drawn = [_gapped(text, chance, number, order) for text in asked.passages]
    question = " And: ".join(gapped for gapped, _, _ in drawn)
    answers, quotes = [word for _, word, _ in drawn], [sentence for _, _, sentence in drawn]
    label = "; ".join(answers)
    if errs(knobs.unsupported, question, knobs, chance):
        label = _another(answers[0], asked.passages[0], quotes[0], chance)
    if errs(knobs.invented_quotes, f"quote/{question}", knobs, chance):
        quotes[0] = _altered(quotes[0], chance)
    allowed = asked.allowed_labels
    if allowed:  # a classification: the sentence itself, and one of its labels
        wanted = asked.labels[number] if number < len(asked.labels) else chance.choice(allowed)
        return {**_in_form(asked, {"text": quotes[0], "label": wanted}, chance), **_evidence(asked, quotes)}
    leaks = errs(knobs.leaks, f"leak/{question}", knobs, chance)
    content = {"text": (_LEAK if leaks else _ASKS).format(question), "label": label}
    if asked.no_answer and chance.random() < _DENIED:
        content["label"] = asked.no_answer
    if knobs.known_answers:
        _learn(content["text"], "; ".join(answers))
    return {**_in_form(asked, content, chance), **_evidence(asked, quotes)}


def _evidence(asked: Asked, quotes: Sequence[str]) -> dict[str, Any]:
    if "quotes" in asked.properties or len(quotes) > 1:
        return {"quotes": list(quotes)}
    return {"quote": quotes[0]} if "quote" in asked.properties or not asked.no_answer else {}


def _in_form(asked: Asked, content: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """The content in the fields that are asked for; other fields as the examples have them."""
    form = {name: schema for name, schema in asked.properties.items() if name not in ("quote", "quotes")}
    if "messages" in form:
        said = [
            {"role": "user", "content": content["text"]},
            {"role": "assistant", "content": content["label"]},
        ]
        return {**like_examples(asked, chance, None), "messages": said}
    item: dict[str, Any] = {}
    for place, (name, schema) in enumerate(form.items()):
        item[name] = content.get(name, _other(place, schema, content, chance))
    return item


def _other(place: int, schema: Mapping[str, Any], content: Mapping[str, Any], chance: random.Random) -> Any:
    if schema.get("enum"):
        return chance.choice(schema["enum"])
    usual = {"array": [content["label"]], "integer": 1, "number": 1.0, "boolean": True}
    return usual.get(str(schema.get("type")), content["text"] if place == 0 else content["label"])


def _gapped(text: str, chance: random.Random, number: int, order: float) -> tuple[str, str, str]:
    """(a sentence of the text with a gap, what stood there, the sentence); another one for each number."""
    sentences = _sentences(text)
    places = random.Random(order).sample(range(len(sentences)), len(sentences))
    sentence = sentences[places[number % len(places)]]
    words = [match for match in _WORD.finditer(sentence) if sentence.count(match[0]) == 1]
    words = words or list(_WORD.finditer(sentence))
    if not words:
        return f"{GAP} {sentence}", sentence, sentence
    match = chance.choice(words)
    return f"{sentence[: match.start()]}{GAP}{sentence[match.end() :]}", match[0], sentence


def _sentences(text: str) -> list[str]:
    """Sentences of a usual length; else the beginning of the text."""
    found = [each.strip() for each in re.split(r"(?<=[.!?:])\s+|\n+", text)]
    usual = [each for each in found if _LEAST <= len(each) <= _MOST and len(_WORD.findall(each)) >= 3]
    return usual or [text.strip()[:_MOST]]


def _another(answer: str, passage: str, quote: str, chance: random.Random) -> str:
    """A word of the passage that is not the answer, and does not stand in its quote if there is one."""
    if answer.replace(",", "").replace(".", "").isdigit():
        return str(int(re.sub(r"\D", "", answer)) + chance.randint(1, 90))
    words = sorted({word for word in _WORD.findall(passage) if word.casefold() not in quote.casefold()})
    return f"not {answer}" if not words else chance.choice(words)


def _altered(quote: str, chance: random.Random) -> str:
    """A quote that is none: a number is another, or a word has gone, or 'not' has come."""
    numbers = list(re.finditer(r"\d+", quote))
    if numbers:
        match = chance.choice(numbers)
        return f"{quote[: match.start()]}{int(match[0]) + 1}{quote[match.end() :]}"
    words = quote.split()
    place = chance.randrange(len(words))
    return " ".join([*words[:place], "certainly not", *words[place:]])


def _without_answer(asked: Asked, chance: random.Random) -> dict[str, Any]:
    """A question of which no document of this world says anything."""
    words = sorted(set(_WORD.findall(asked.passages[0]))) or ["this"]
    name = "".join(chance.choice("bcdfglmnprstvz") + chance.choice("aeiou") for _ in range(4)).capitalize()
    text = _NO_ANSWER.format(f"{name.lower()}s", chance.choice(words), chance.randint(1100, 1900))
    return {**_in_form(asked, {"text": text, "label": asked.no_answer}, chance)}


# --- reading ---------------------------------------------------------------------------------------


def grounding(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """Whether the quotes, with the answers in the gaps, are what the question says; errs as reviews do."""
    question, label = str(asked.item.get("text", "")), str(asked.item.get("label", ""))
    if not label and isinstance(messages := asked.item.get("messages"), list):
        question, label = (str(each.get("content", "")) for each in messages[-2:])
    elif not label and len(parts := [each for each in asked.item.values() if isinstance(each, str)]) > 1:
        question, label = parts[0], parts[-1]
    supported = _fills(question, label, asked.passages)
    if errs(knobs.reading_errors, question, knobs, chance):
        supported = not supported
    said = "The quotes say so." if supported else "The quotes do not say so."
    return {"reasoning": said, "supported": supported}


def _fills(question: str, label: str, quotes: Sequence[str]) -> bool:
    """Whether the answers, put into the gaps, give sentences of the quotes."""
    said = " ".join(" ".join(quotes).split())
    if GAP not in question:
        return " ".join(question.split()) in said or (bool(label) and label.casefold() in said.casefold())
    gapped = " ".join(question.split()).partition("gap: ")[2].split(" And: ")
    answers = label.split("; ") if len(gapped) > 1 else [label]
    if len(answers) != len(gapped):
        return False
    return all(one.replace(GAP, answer, 1) in said for one, answer in zip(gapped, answers, strict=True))


def closed_book(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """The model knows nothing of the documents, but for the share of its own questions that it has learned by heart."""
    question = str(asked.item.get("text", ""))
    if errs(knobs.known_answers, f"known/{question}", knobs, chance) and (label := _BY_HEART.get(question)):
        return {"reasoning": "This is well known.", "answer": label}
    return {"reasoning": "This is not known to me.", "answer": "unknown"}


_BY_HEART: dict[str, str] = {}
"""Right answers to the questions that this process has written last: they cannot be told from the questions alone."""
_MOST_BY_HEART = 50_000


def _learn(question: str, answer: str) -> None:
    if len(_BY_HEART) >= _MOST_BY_HEART:
        del _BY_HEART[next(iter(_BY_HEART))]
    _BY_HEART[question] = answer


def answerable(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """Whether a passage holds the question's sentence around its gap."""
    question = " ".join(str(asked.item.get("text", "")).split())
    before, gap, after = question.partition("gap: ")[2].partition(GAP)
    for passage in asked.passages if gap else ():
        plain = " ".join(passage.split())
        if before.strip() in plain and after.strip() in plain:
            start = plain.find(before.strip()) if before.strip() else plain.find(after.strip())
            return {
                "reasoning": "A passage says it.",
                "answerable": True,
                "quote": plain[start : start + 120],
            }
    return {"reasoning": "No passage says anything of it.", "answerable": False, "quote": ""}
