"""Preference pairs: a prompt, the better answer and the worse one, as texts or as messages."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.dataset.chats import Message, messages_in
from engine.dataset.forms import FieldProblem

Answer = str | list[Message]


@dataclass(frozen=True, slots=True)
class PairStyle:
    """How a dataset spells its pairs."""

    messages: bool = False
    """Whether an answer is a list of messages."""
    repeats: bool = False
    """Whether the prompt stands in both answers, before what is new in them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair without repetitions: the answers hold what is new in them alone."""

    prompt: list[Message]
    """What both have in common, where it stands in them."""
    chosen: Answer
    rejected: Answer
    style: PairStyle


def pair_in(chosen: Any, rejected: Any) -> Pair:
    """Raises FieldProblem where the two are no pair, or say the same."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        better, worse = chosen, rejected
        style, prompt = PairStyle(), list[Message]()
        same = folded(better) == folded(worse)
        if not better.strip() or not worse.strip():
            raise FieldProblem("empty_answer", "one of the two answers is empty")
    else:
        style, prompt, better, worse = _messages(chosen, rejected)
        same = folded(said(better)) == folded(said(worse))
    if same:
        raise FieldProblem("same_answers", "the chosen and the rejected answer are the same")
    return Pair(prompt, better, worse, style)


def _messages(chosen: Any, rejected: Any) -> tuple[PairStyle, list[Message], Any, Any]:
    one, other = messages_in(chosen, "chosen messages"), messages_in(rejected, "rejected messages")
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared == len(one) == len(other):
        raise FieldProblem("same_answers", "the chosen and the rejected answer are the same")
    while shared and one[shared - 1]["role"] == "assistant":  # an answer that both begin with is new in both
        shared -= 1
    better, worse = one[shared:], other[shared:]
    if not better or not worse:
        raise FieldProblem("empty_answer", "one of the two answers is empty")
    for answer in (better, worse):
        if answer[-1]["role"] != "assistant":
            raise FieldProblem("roles", f"an answer ends with a message of the {answer[-1]['role']}")
    return PairStyle(True, shared > 0), one[:shared], _simple(better), _simple(worse)


def _simple(messages: list[Message]) -> Answer:
    """One plain message of the assistant as its text."""
    if len(messages) == 1 and messages[0].keys() <= {"role", "content"} and messages[0]["content"].strip():
        return str(messages[0]["content"])
    return messages


def said(answer: Answer | Sequence[Message]) -> str:
    """An answer as text."""
    return answer if isinstance(answer, str) else "\n\n".join(str(each["content"]) for each in answer)


def folded(text: str) -> str:
    """The text without what makes no difference: case, spacing, width of characters."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def as_messages(answer: Answer) -> list[Message]:
    return [{"role": "assistant", "content": answer}] if isinstance(answer, str) else list(answer)


def prompt_of(parts: Mapping[str, Any], text: str | None) -> list[Message]:
    """The prompt as messages: those of the conversation, or the text as a user's."""
    if "messages" in parts:
        return list(parts["messages"])
    return [{"role": "user", "content": text}] if text else []
