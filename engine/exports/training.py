"""What trainers read out of an item: a prompt and its answer, a conversation, a preference, a judged completion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.config.dataset import wire_name
from engine.dataset.chats import Message
from engine.dataset.fields import Fields
from engine.dataset.forms import LETTERS, Example, FieldProblem
from engine.dataset.pairs import as_messages, prompt_of
from engine.dataset.paths import value_at
from engine.errors import ConfigError
from engine.items import said
from engine.protocols import Row

Kind = Literal["answer", "conversation", "prompt", "preference", "judged"]


@dataclass(frozen=True, slots=True)
class Training:
    """One item as trainers see it. `messages` ends with the answer, of a preference with the prompt."""

    messages: list[Message]
    tools: list[dict[str, Any]] = field(default_factory=list)
    chosen: list[Message] = field(default_factory=list)
    rejected: list[Message] = field(default_factory=list)
    label: bool | None = None
    """Of a judged completion: whether it is good."""
    margin: float | None = None
    """Of a preference: by how much the chosen answer is better, up to 1."""
    reason: str = ""
    """Of a preference: what found it better."""
    instruction: str = ""
    input: str = ""
    """Of an answer: the question, and what it is about, where these are two parts."""

    @property
    def system(self) -> str:
        """What the system message says; '' without one."""
        first = self.messages[:1]
        return str(first[0]["content"]) if first and first[0]["role"] == "system" else ""

    @property
    def spoken(self) -> list[Message]:
        """The messages without the system's."""
        return (
            self.messages[1:] if self.messages[:1] and self.messages[0]["role"] == "system" else self.messages
        )

    @property
    def prompt(self) -> list[Message]:
        """The messages before the answer."""
        return self.messages[:-1]


def kind_of(fields: Fields) -> Kind:
    """What the items of the dataset are to a trainer."""
    config = fields.config
    if config.chosen is not None:
        return "preference"
    if config.messages is not None:
        if config.messages.last == "user":
            return "prompt"
        return "judged" if _is_judgement(fields) else "conversation"
    if len(config.parts) == 2 and _is_judgement(fields):
        return "judged"
    return "answer"


def _is_judgement(fields: Fields) -> bool:
    label = fields.config.label
    return label is not None and fields.schema.at(label.field).type.kind == "boolean"


def is_empty(row: Row, fields: Fields) -> bool:
    """Whether it is a row that was kept without what was asked for it."""
    labels = [spec.field for spec in fields.config.all_labels.values()]
    return bool(labels) and all(value_at(row, path) is None for path in labels)


def training_of(row: Row, fields: Fields, description: str) -> Training:
    """Raises ConfigError for a row that is no item."""
    try:
        example = fields.read(0, row)
    except FieldProblem as problem:
        named = row.get("_meta")
        known = named.get("id", "?") if isinstance(named, Mapping) else "?"
        raise ConfigError(f"item {known}: {problem}") from None
    tools = list(example.parts.get("tools", ()))
    match kind_of(fields):
        case "preference":
            prompt = prompt_of(example.parts, example.parts.get("text"))
            better, worse = (as_messages(example.parts[name]) for name in ("chosen", "rejected"))
            return Training(prompt, tools, better, worse)
        case "conversation" | "prompt":
            return Training(list(example.parts["messages"]), tools)
        case "judged":
            return _judged(example, tools)
    return _answer(example, fields, description)


def _judged(example: Example, tools: list[dict[str, Any]]) -> Training:
    good = said(example.label) == "true"
    if "messages" in example.parts:
        return Training(list(example.parts["messages"]), tools, label=good)
    prompt, completion = (str(part) for part in example.parts.values())
    return Training(_asked(prompt, completion), label=good)


def _asked(question: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _answer(example: Example, fields: Fields, description: str) -> Training:
    """The question and the answer. Without a label, they are the description and the text."""
    if example.label is None:
        return Training(_asked(description, example.text), instruction=description)
    parts = [str(part) for part in example.parts.values()]
    question, answer = _question(example), _answered(example, fields)
    if len(parts) == 2 and not example.choices:
        return Training(_asked(question, answer), instruction=parts[0], input=parts[1])
    return Training(_asked(question, answer), instruction=question)


def _question(example: Example) -> str:
    choices = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, example.choices, strict=False)]
    return "\n".join([example.text, *choices])


def _answered(example: Example, fields: Fields) -> str:
    """The answer in full: the solution before the label, the choice beside its letter."""
    label = said(example.label)
    if example.choices:
        label = f"{label}. {example.choices[LETTERS.index(label)]}"
    if (
        isinstance(example.label, tuple)
        and (spec := fields.config.label) is not None
        and spec.inside is not None
    ):
        label = example.label[0] if example.label else ""
    solution = fields.config.solution
    if solution is None or wire_name(solution) not in example.extras:
        return label
    worked = str(example.extras[wire_name(solution)])
    spec = fields.config.label
    if spec is not None and spec.pattern is not None:
        return f"{worked}\n{spec.write.replace('{label}', label)}"
    return f"{worked}\n\n{label}"
