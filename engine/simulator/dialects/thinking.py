"""Where a model's thoughts stand in a reply: among the answer, marked or half marked, or in a place of their own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from engine.config.simulator import Thinking

DRAFT = "Draft, given up:"
"""Begins every text of a draft: an item with it was read from thoughts."""
CHARACTERS_PER_TOKEN = 4


class Written(NamedTuple):
    """What a model has written within its allowance of tokens."""

    thought: str
    answer: str
    cut: bool


def thought_of(answer: str, tokens: int, chance: random.Random) -> str:
    """Thoughts of about so many tokens; within them a draft of the answer that is wrong in every value."""
    try:
        draft = orjson.dumps(_wrong(orjson.loads(answer))).decode()
    except orjson.JSONDecodeError:
        draft = f"{DRAFT} {answer[:200]}"
    begin, end = "Let me think. A first attempt: ", " No, that will not do; once more, with care."
    room = max(0, tokens * CHARACTERS_PER_TOKEN - len(begin) - len(draft) - len(end))
    idle = " ".join(chance.choice(_IDLE) for _ in range(room // 20))
    return f"{begin}{draft}{end} {idle}".strip()


_IDLE = ("So what is asked here?", "That needs a look.", "Then it follows.", "Or else it is not.")


def _wrong(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{DRAFT} {value}"
    if isinstance(value, list):
        return [_wrong(each) for each in value]
    return {name: _wrong(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def within(thought: str, answer: str, most: int | None) -> Written:
    """Both, cut after so many tokens: thoughts count like the answer, and come first."""
    if most is None or tokens_of(thought) + tokens_of(answer) <= most:
        return Written(thought, answer, cut=False)
    kept = _cut_after(thought, most)
    return Written(kept, _cut_after(answer, most - tokens_of(kept)), cut=True)


def _cut_after(text: str, tokens: int) -> str:
    """The beginning of a text that has so many tokens at most."""
    return text[: max(0, tokens * CHARACTERS_PER_TOKEN - 1)]


def tokens_of(text: str) -> int:
    return len(text) // CHARACTERS_PER_TOKEN + 1 if text else 0


def message(written: Written, style: Thinking, field: str) -> dict[str, Any]:
    """The assistant's message with thoughts in their place. Thoughts that were cut short are not closed."""
    thought, answer = written.thought, written.answer
    content: Any = answer
    more: dict[str, Any] = {}
    ended = bool(answer) or not written.cut
    if thought and style == "tag":
        content = f"<think>\n{thought}" + (f"\n</think>\n\n{answer}" if ended else "")
    elif thought and style == "half_tag":
        content = thought + (f"\n</think>\n\n{answer}" if ended else "")
    elif thought and style == "channel":
        final = f"<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>"
        content = f"<|channel|>analysis<|message|>{thought}" + (final if ended else "")
    elif thought and style == "parts":
        content = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
        content += [{"type": "text", "text": answer}] if ended else []
    elif thought and style == "field":
        content, more = (answer if ended else None), {field: thought}
    return {"role": "assistant", "content": content, **more}


def deltas(whole: Mapping[str, Any], pieces: int) -> list[dict[str, Any]]:
    """The message as a stream brings it."""
    told: list[dict[str, Any]] = []
    content = whole.get("content")
    for name, value in whole.items():
        if name not in ("role", "content", "refusal") and isinstance(value, str):
            told += [{name: part} for part in _cut(value, pieces)]
    if isinstance(content, list):
        told += [
            {"content": [part]} if part["type"] != "text" else {"content": part["text"]} for part in content
        ]
    elif content:
        told += [{"content": part} for part in _cut(content, pieces)]
    return told


def _cut(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]
