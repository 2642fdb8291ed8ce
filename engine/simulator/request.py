"""Parses from its body what a request to the simulated endpoint asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson


@dataclass(frozen=True)
class Asked:
    """A chat request. `purpose` is the name of its JSON schema; without one, what the form in its prompt is for."""

    body: Mapping[str, Any]

    @cached_property
    def purpose(self) -> str:
        return str(self._schema_part.get("name") or self._purpose_of_form)

    @cached_property
    def _purpose_of_form(self) -> str:
        """By the fields that the prompt asks for."""
        if _OF_ROW in self.text:
            return "map"
        fields = frozenset(re.findall(r'(?:^\{|, )"(\w+)": ', _outermost(self._form)))
        purpose = _BY_FIELDS.get(fields, "items")
        harder = any(f"- {name}: " in self.text for name in PRINCIPLES)
        return "enhancement" if purpose == "revision" and harder else purpose

    @cached_property
    def _form(self) -> str:
        """The last object in the prompt whose values are no values, but name their kind; '' if there is none."""
        lines = (line for line in reversed(self.text.splitlines()) if line.startswith("{"))
        return next((line for line in lines if not _is_json(line)), "")

    @cached_property
    def _schema_part(self) -> Mapping[str, Any]:
        form = self.body.get("response_format")
        part = form.get("json_schema") if isinstance(form, dict) else None
        return part if isinstance(part, dict) else {}

    @cached_property
    def text(self) -> str:
        """All messages as one text."""
        return "\n".join(str(message.get("content", "")) for message in self._messages)

    @cached_property
    def _messages(self) -> Sequence[Mapping[str, Any]]:
        messages = self.body.get("messages")
        return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []

    @cached_property
    def item(self) -> Mapping[str, Any]:
        """The item under discussion: the fenced JSON block of the last user message."""
        users = [str(m.get("content", "")) for m in self._messages if m.get("role") == "user"]
        match = re.search(r"```json\s*(\{.*?\})\s*```", users[-1], re.DOTALL) if users else None
        try:
            shown = orjson.loads(match[1]) if match else {}
        except orjson.JSONDecodeError:
            shown = {}
        return shown if isinstance(shown, dict) else {}

    @cached_property
    def examples(self) -> list[Mapping[str, Any]]:
        """The items in the prompt, which has one per line."""
        examples = []
        for line in self.text.splitlines():
            if line.startswith('{"'):
                try:
                    examples.append(orjson.loads(line))
                except orjson.JSONDecodeError:
                    continue
        items = [example for example in examples if isinstance(example, dict)]
        return [item for item in items if item.keys() != _OF_NOTE]

    @cached_property
    def is_of_row(self) -> bool:
        """Whether new columns of a row are asked for."""
        return self.purpose == "map" or self.purpose.startswith("map_")

    @cached_property
    def row_text(self) -> str:
        """What a prompt over a row says of it, without the rows that are done."""
        users = [str(m.get("content", "")) for m in self._messages if m.get("role") == "user"]
        row = users[-1].rpartition("The row to do now:\n")[2] if users else ""
        return row.rpartition("Answer in this form:")[0] or row

    @cached_property
    def reply_schema(self) -> Mapping[str, Any]:
        """The schema of the whole reply; without one, the names in the prompt's form, for texts."""
        schema = self._schema_part.get("schema")
        if isinstance(schema, dict):
            return schema
        names = re.findall(r'(?:^\{|, )"(\w+)": ', _outermost(self._form))
        return {"properties": {name: {"type": "string"} for name in names}}

    @cached_property
    def passages(self) -> list[str]:
        """The fenced texts of the prompt: passages, or quotes from them."""
        return re.findall(r"^```text\n(.*?)\n```$", self.text, re.DOTALL | re.MULTILINE)

    @cached_property
    def no_answer(self) -> str:
        """The label of questions that the passage must not answer, where such are asked for."""
        match = re.search(r'does not say; its label is "(.*?)"\.', self.text)
        return match[1] if match else ""

    @cached_property
    def count(self) -> int:
        """The number of items requested."""
        array = self._items_schema
        if isinstance(array.get("minItems"), int):
            return int(array["minItems"])
        match = re.search(r"\b(\d+)\b[^.\n\d]{0,20}\bitems?\b", self.text)
        return min(1000, int(match[1])) if match else 1

    @cached_property
    def _items_schema(self) -> Mapping[str, Any]:
        try:
            schema = self._schema_part["schema"]["properties"]["items"]
        except (KeyError, TypeError):
            return {}
        return schema if isinstance(schema, dict) else {}

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """The fields of one item with their schemas; else from the prompt's form or examples."""
        whole = self._schema_part.get("schema")
        if self.purpose == "label" and isinstance(whole, dict) and isinstance(whole.get("properties"), dict):
            return dict(whole["properties"])
        inner = self._items_schema.get("items")
        if isinstance(inner, dict) and isinstance(inner.get("properties"), dict):
            return dict(inner["properties"])
        form = re.match(r'\{"items": \[\{(.*?)\}', self._form)
        names = re.findall(r'(?:^|, )"([^"]+)": ', form[1]) if form else []
        return {name: {} for name in names or (self.examples[0] if self.examples else ["text", "label"])}

    @cached_property
    def labels(self) -> list[str]:
        """The requested labels, one for each item, if the prompt says how many of each it wants."""
        asked = re.findall(r'(\d+)[^"\d\n]{0,40}"([^"\n]+)"', self._instructions)
        return [label for count, label in asked for _ in range(min(1000, int(count)))]

    @cached_property
    def advised(self) -> bool:
        """Whether points stand behind the examples: what to avoid, or what earlier items were."""
        lines = self.text.splitlines()
        examples = (n for n, line in enumerate(lines) if line.startswith('{"') and _is_json(line))
        last = max(examples, default=len(lines))
        return any(line.startswith("- ") for line in lines[last + 1 :])

    @cached_property
    def guidance(self) -> str:
        """All that the request says besides its examples: another guidance leads to other items."""
        return self._instructions

    @cached_property
    def _instructions(self) -> str:
        return "\n".join(line for line in self.text.splitlines() if not line.startswith(("{", "- ")))

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, Any]]:
        """What a review is to give points for, with the bounds of each."""
        try:
            scores = self._schema_part["schema"]["properties"]["scores"]["properties"]
        except (KeyError, TypeError):
            return {}
        return scores if isinstance(scores, dict) else {}

    @cached_property
    def answers(self) -> list[str]:
        """The answers that the reply's schema allows."""
        schema = self._schema_part.get("schema")
        properties = schema.get("properties") if isinstance(schema, dict) else None
        answer = properties.get("answer") if isinstance(properties, dict) else None
        enum = answer.get("enum") if isinstance(answer, dict) else None
        return [str(value) for value in enum] if isinstance(enum, list) else []

    @cached_property
    def allowed_labels(self) -> list[str]:
        label = self.properties.get("label")
        enum = label.get("enum") if isinstance(label, dict) else None
        return [str(value) for value in enum] if isinstance(enum, list) else []


_OF_ROW = "Whatever a row's text says, you answer"
"""What a prompt for new columns of a row says, where the schema's name does not."""
PRINCIPLES = ("paraphrase_question", "add_context", "paraphrase_choices", "add_choice")
"""The paper's ways to make an item harder."""
_OF_NOTE = {"note", "decision", "of"}
"""The fields of a reviewer's note, which stands on a line like an example."""
_BY_FIELDS: Mapping[frozenset[str], str] = {
    frozenset(fields.split()): purpose
    for purpose, fields in {
        "attributes": "attributes",
        "review": "analysis good",
        "revision": "item",
        "program": "analysis code",
        "same_answer": "same",
        "constraint_check": "analysis broken",
        "entities": "entities",
        "fact_check": "reasoning verdict quote item",
        "agree": "reasoning answer",
        "preference": "reasoning better",
        "enhancement_plan": "analysis principles",
        "judgement": "final_answer same",
        "lessons": "lessons",
        "grounding": "reasoning supported",
        "answerable": "reasoning answerable quote",
    }.items()
} | {frozenset({"answer"}): "answer", frozenset({"analysis", "answer"}): "answer"}


def _is_json(line: str) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _outermost(form: str) -> str:
    """The form without what stands in its inner objects and lists."""
    inner = re.compile(r"(?<!^)[{\[][^{}\[\]]*[}\]]")
    while (shorter := inner.sub("", form)) != form:
        form = shorter
    return form
