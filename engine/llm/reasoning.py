"""Separates what a model thought aloud from what it finally said.

Models mark their thinking in many ways, and servers pass it on as it is, strip half of the marks, or move it
into a field of its own. What is thought is a draft, and never an answer. Sources: the chat templates of
DeepSeek-R1 and Qwen3 (<think>), Magistral ([THINK]), gpt-oss (harmony channels), Seed-OSS (<seed:think>),
Kimi (◁think▷), Command A Reasoning (<|START_THINKING|>), Sky-T1 (<|begin_of_thought|>), Granite 3.2 (sentences).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_TAG = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)"
_OPEN = re.compile(
    rf"<{_TAG}(?:\s[^<>]*)?>|<\|{_TAG}\|>|<\|channel>thought|\[THINK\]|◁think▷|<unused94>"
    r"|<\|(?:begin_of_thought|START_THINKING)\|>|Here is my thought process:",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_TAG}>|<\|/{_TAG}\|>|<channel\|>|\[/THINK\]|◁/think▷|<unused95>|\.\.\.done thinking\."
    r"|<\|(?:end_of_thought|END_THINKING)\|>|Here is my response:",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(analysis|commentary|final)\b")
_HEAD = re.compile(r"[^<{\[]*(?:<\|constrain\|>\s*\w*\s*)?<\|message\|>")
_TURN_ENDS = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_CHANNELS = re.compile(r"\s*analysis.*assistantfinal", re.DOTALL)
_WRAPPED = re.compile(
    r"\s*(?:<(?P<tag>answer|response|final_answer|output|solution)>(?P<inner>.*)</(?P=tag)>"
    r"|<\|(?:begin_of_solution|START_RESPONSE)\|>(?P<marked>.*?)(?:<\|(?:end_of_solution|END_RESPONSE)\|>)?)\s*",
    re.DOTALL | re.IGNORECASE,
)
_LAST_TOKEN = re.compile(
    r"(?:\s*(?:<\|(?:im_end|eot_id|endoftext|end_of_text|return|end|END_OF_TURN_TOKEN)\|>|</s>|<end_of_turn>))+\s*\Z"
)


class Said(NamedTuple):
    """A model's text in two parts."""

    answer: str
    reasoning: str
    half: bool = False
    """Whether only the end of the thinking is marked."""


class Habit:
    """How one model marks its thinking, as its replies have shown.

    Where a server strips the opening mark, thinking that is cut short bears no mark at all, and a draft within it
    looks like an answer. So a reply that was cut, or that a model of this habit began in words, is all thinking;
    before a first whole reply that begins in words has shown the habit, a cut one counts only if it begins as JSON.
    Mutable state: the two kinds of replies that were seen.
    """

    def __init__(self) -> None:
        self._half = False
        self._unmarked = False

    def separated(self, text: str, *, cut: bool) -> Said:
        """Like the function of this name. `cut`: the model had no tokens left."""
        said = separated(text)
        self._half |= said.half
        if said.reasoning or said.half:
            return said
        in_words = text.lstrip()[:1] not in ("{", "[", "`", '"')
        if cut and (self._half or (in_words and not self._unmarked)):
            return Said("", text)
        if self._half and in_words:
            return Said("", text)
        self._unmarked |= in_words and not cut
        return said


def separated(text: str) -> Said:
    """What a model finally said, and what it thought before; marks within a JSON string are text.

    Thinking that never ends leaves no answer.
    """
    for mark in _HINTS:
        if mark in text:
            break
    else:
        return Said(text, "")
    if not any(pattern.search(text) for pattern in (_OPEN, _CLOSE, _CHANNEL, _BARE_CHANNELS)):
        return Said(_unwrapped(text), "")
    inside = [span for _, span in whole_values(text)]
    said = _by_channel(text, inside) or _by_tags(text, inside)
    return said._replace(answer=_unwrapped(said.answer))


_HINTS = ("<", "[/", "[THINK]", "◁", "Here is my response:", "assistantfinal", "...done thinking.")
"""One of these is in every text that is marked; most texts have none of them."""


def _by_channel(text: str, inside: list[slice]) -> Said | None:
    """Harmony: the last `final` channel, or the commentary after the last analysis; None without channels."""
    marks = [match for match in _CHANNEL.finditer(text) if not _within(match, inside)]
    if not marks:
        bare = _BARE_CHANNELS.match(text)  # the server removed the special tokens, and left their words
        return Said(text[bare.end() :], text[: bare.end()]) if bare is not None else None
    answer, thought = "", []
    for match in marks:
        head = _HEAD.match(text, match.end())
        start = head.end() if head is not None else match.end()
        end = _TURN_ENDS.search(text, start)
        body = text[start : end.start() if end is not None else len(text)]
        if match[1] == "analysis":
            thought.append(body)
            answer = ""
        else:
            answer = body
    return Said(answer, "\n".join(thought))


def _by_tags(text: str, inside: list[slice]) -> Said:
    """What follows the last closing tag; without an opening one, too, since servers strip that."""
    closings = [match for match in _CLOSE.finditer(text) if not _within(match, inside)]
    end = closings[-1].end() if closings else 0
    openings = [match for match in _OPEN.finditer(text) if not _within(match, inside)]
    if unclosed := next((match for match in openings if match.start() >= end), None):
        return Said(text[end : unclosed.start()], text[:end] + text[unclosed.start() :])
    if not closings:
        return Said(text, "")
    answer = text[end:]
    if not answer.strip() and openings:  # it answered first, and thought afterwards
        return Said(text[: openings[0].start()], text[openings[0].start() :])
    return Said(answer, text[:end], half=not openings)


def _within(match: re.Match[str], inside: list[slice]) -> bool:
    return any(span.start <= match.start() < span.stop for span in inside)


def _unwrapped(answer: str) -> str:
    """The answer without the tags around it, and without a token that ends a turn."""
    answer = _LAST_TOKEN.sub("", answer)
    wrapped = _WRAPPED.fullmatch(answer)
    if wrapped is None:
        return answer
    return wrapped["inner"] if wrapped["inner"] is not None else wrapped["marked"]


def whole_values(text: str) -> Iterator[tuple[Any, slice]]:
    """The JSON objects and arrays in the text with their places, from left to right.

    One that is broken gives way to those within it.
    """
    decoder = json.JSONDecoder(strict=False)
    position = failures = 0
    while failures < _MOST_FAILURES and (opening := _OPENING.search(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, opening.start())
            yield value, slice(opening.start(), position)
        except (json.JSONDecodeError, RecursionError):
            position = opening.start() + 1
            failures += 1


_OPENING = re.compile(r"[\[{]")
_MOST_FAILURES = 2_000
"""Openings looked at in vain before a reply is given up: a megabyte of brackets must not hold up the run."""
