"""Replies of models read as items of a dataset: each part by its kind, and against the dataset's schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from engine.answers.backslashes import control_character, restored
from engine.config import LabelField
from engine.config.dataset import wire_name
from engine.dataset.chat_rules import complaint
from engine.dataset.chats import messages_in, tools_in
from engine.dataset.forms import LETTERS, SOLUTION_DIFFERS, Content, FieldProblem, letter_of, place_of, plain
from engine.dataset.label_form import LabelForm
from engine.dataset.labels import from_text
from engine.dataset.mapping import Mapped
from engine.dataset.pairs import pair_in
from engine.dataset.shape import ends_in
from engine.dataset.texts import known_by, text_of
from engine.items import Item, Label, said
from engine.schema.types import has_any
from engine.schema.values import loads


def content(fields: Mapped, reply: Mapping[str, Any], before: Item | None = None) -> Content:
    """The reply as an item; see Fields.content. Raises FieldProblem."""
    check_writable(reply)
    if before is None:
        reply = mended(in_wire_names(fields, reply))
    text, parts = _text(fields, reply)
    choices: tuple[str, ...] = ()
    if before is not None and reply.get("choices") == list(before.choices):
        choices = before.choices
    elif fields.config.choices is not None:
        choices = _choices(fields, reply.get("choices"))
    extras = _extras(fields, reply, before)
    label = _labels(fields, reply, choices, text, parts)
    check_solution(fields, extras, label, choices)
    return Content(text, label, choices, extras, parts)


def check_solution(
    fields: Mapped, extras: Mapping[str, Any], label: Label | None, choices: Sequence[str]
) -> None:
    """Raises FieldProblem where the worked solution arrives at another label, and those of the base dataset do not."""
    if not fields.shape.ends_in_label or fields.config.solution is None:
        return
    worked = extras.get(wire_name(fields.config.solution))
    if isinstance(worked, str) and ends_in(worked, label, choices) is False:
        raise FieldProblem(SOLUTION_DIFFERS, f"the solution does not arrive at the label {said(label)!r}")


def revised(fields: Mapped, item: Item, reply: Mapping[str, Any], kept: Mapping[str, Any]) -> Content:
    """The item, which is `kept` on the wire, with the fields that the reply has. Raises FieldProblem."""
    named = in_wire_names(fields, reply)
    sent = {n: mended(value, n) for n, value in named.items() if n in kept and value is not None}
    return content(fields, {**kept, **sent}, item)


def in_wire_names(fields: Mapped, reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """A reply under the wire's names, where a model answered in the dataset's own."""
    config = fields.config
    if config.messages is not None and "messages" not in reply:
        named = next((n for n in (config.messages.field, "conversations") if n in reply), None)
        return {**reply, "messages": reply[named]} if named is not None else reply
    if len(config.parts) != 1:
        return reply
    own = {config.parts[0]: "text"}
    if config.label is not None:
        own[config.label.field] = "label"
    if config.choices is not None and config.choices.field is not None:
        own[config.choices.field] = "choices"
    if config.parts[0] not in reply or ("text" in reply and own.get("text", "text") == "text"):
        return reply
    return {**reply, **{wire: reply[name] for name, wire in own.items() if name in reply}}


# --- text ------------------------------------------------------------------------------------------


def _text(fields: Mapped, reply: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    config = fields.config
    if config.messages is None and config.chosen is None and len(config.parts) == 1:
        return text_of(reply, "text"), {}
    parts: dict[str, Any] = {}
    if config.messages is not None:
        parts |= _conversation(fields, reply)
    if len(config.parts) == 1:
        parts["text"] = text_of(reply, "text")
    for name in map(wire_name, config.parts) if len(config.parts) > 1 else ():
        empty = name in fields.shape.optional and reply.get(name) in (None, "")
        parts[name] = "" if empty else text_of(reply, name)
    if config.chosen is not None:
        for name in ("chosen", "rejected"):
            if reply.get(name) in (None, "", []):
                raise FieldProblem("missing_field", f"field {name!r} is missing")
        pair = pair_in(reply["chosen"], reply["rejected"])
        parts |= {"chosen": pair.chosen, "rejected": pair.rejected}
        if pair.prompt and not parts.keys() & {"text", "messages"}:
            parts = {"messages": pair.prompt, **parts}
    return known_by(parts), parts


def _conversation(fields: Mapped, reply: Mapping[str, Any]) -> dict[str, Any]:
    spec, shape = fields.config.messages, fields.shape.chat
    assert spec is not None
    messages = messages_in(reply.get("messages"))
    if messages and messages[0]["role"] == "system" and (spec.system == "drop" or not shape.system[0]):
        messages = messages[1:]
    tools = tools_in(reply.get("tools")) if spec.tools is not None else []
    prompt = fields.config.chosen is not None or spec.last == "user"
    fault = complaint(messages, tools, spec.turns, spec.system, prompt=prompt)
    if fault is not None:
        raise FieldProblem(*fault)
    return {"messages": messages, **({"tools": tools} if tools else {})}


# --- choices, labels, extras -----------------------------------------------------------------------


def _choices(fields: Mapped, value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):  # {"A": "…", "B": "…"}
        value = list(value.values())
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise FieldProblem("bad_choices", "the choices are not a list of two or more")
    choices = tuple(plain(choice) for choice in value)
    if not all(choices) or len(set(choices)) < len(choices):
        raise FieldProblem("bad_choices", "two choices are the same, or one is empty")
    wanted, separator = fields.shape.choices, fields.config.choices and fields.config.choices.separator
    if wanted is not None and len(choices) != wanted:
        raise FieldProblem("bad_choices", f"{len(choices)} choices, where the dataset has {wanted}")
    if separator and any(separator in choice for choice in choices):
        raise FieldProblem("bad_choices", f"a choice contains the separator {separator!r}")
    return choices


def _labels(
    fields: Mapped,
    reply: Mapping[str, Any],
    choices: tuple[str, ...],
    text: str,
    parts: Mapping[str, Any],
) -> Label | None:
    config = fields.config
    if config.label is None:
        given = reply.get("labels")
        named = given if isinstance(given, Mapping) else reply
        labels: dict[str, Any] = {
            name: _label(fields, name, spec, named.get(name), (), text, parts)
            for name, spec in config.all_labels.items()
        }
        return labels or None
    return _label(fields, "label", config.label, reply.get("label"), choices, text, parts)


def _label(
    fields: Mapped,
    name: str,
    spec: LabelField,
    value: Any,
    choices: tuple[str, ...],
    text: str,
    parts: Mapping[str, Any],
) -> Label:
    if value is None or isinstance(value, dict) or (plain(value) == "" and not isinstance(value, list)):
        raise FieldProblem("no_label", f"the {name} is missing")
    if choices:
        return _choice(value, choices)
    if name in fields.several:
        listed = value if isinstance(value, list) else [value]
        label: Label = tuple(dict.fromkeys(_one(fields, name, spec, each, text) for each in listed))
    elif isinstance(value, list) and len(value) != 1:
        raise FieldProblem("wrong_type", f"the {name} is a list of {len(value)}, not one label")
    else:
        label = _one(fields, name, spec, value[0] if isinstance(value, list) else value, text)
    if spec.inside is not None:
        return check_inside(label, spec, parts or {wire_name(spec.inside): text})
    return label


def _choice(value: Any, choices: tuple[str, ...]) -> str:
    if letter := letter_of(value, len(choices)):
        return letter
    if plain(value) in choices:
        return LETTERS[choices.index(plain(value))]
    if (place := place_of(value, len(choices))) is not None:
        return LETTERS[place]
    raise FieldProblem("bad_label", f"the label {value!r} is not one of the {len(choices)} choices")


def _one(fields: Mapped, name: str, spec: LabelField, value: Any, text: str) -> str:
    """One label in the form that all labels of the base dataset have, if they have one. Raises FieldProblem."""
    if isinstance(value, dict | list) or plain(value) == "":
        raise FieldProblem("no_label", f"the {name} is missing")
    label = plain(value)
    if spec.pattern is not None and (own := re.search(spec.pattern, label)) is not None and own[1]:
        label = own[1].strip()  # a model that has seen how the dataset writes labels may write so, too
    form: LabelForm = fields.shape.form(name)
    fitted = form.fitted(label, text)
    if fitted is None:
        _readable(spec, label)  # raises for a label that is worse than of another form
        reason = "label_unknown" if form.kind == "closed" else "label_form"
        raise FieldProblem(reason, f"the {name} {label[:100]!r} is not {form.in_words()}")
    return _of_type(fields, name, spec, _readable(spec, fitted))


def _of_type(fields: Mapped, name: str, spec: LabelField, label: str) -> str:
    """The label, which its column can hold. Raises FieldProblem."""
    column = fields.schema.at(spec.field)
    kind = column.type.inner.kind if column.type.inner is not None else column.type.kind
    if spec.pattern is not None or column.names or kind not in ("integer", "number", "boolean"):
        return label
    read = from_text(label, kind)
    if read is None and (number := LabelForm("number", digits=18, decimals=18).fitted(label, "")) is not None:
        read = from_text(number, kind)
    if read is None:
        raise FieldProblem("label_type", f"the {name} {label[:100]!r} is no {kind}")
    return plain(read)


def _readable(spec: LabelField, label: str) -> str:
    """The label, checked: the dataset's own pattern must read it back once it is written."""
    if spec.pattern is not None:
        match = re.search(spec.pattern, spec.write.replace("{label}", label))
        if match is None or (match[1] or "").strip() != label:
            raise FieldProblem("bad_label", f"the label {label!r} cannot be read by {spec.pattern!r}")
    return label


def check_inside(label: Label, spec: LabelField, parts: Mapping[str, Any]) -> Label:
    """The label as it stands in its part: letter case may differ in a reply. Raises FieldProblem."""
    assert spec.inside is not None
    text = str(parts.get(wire_name(spec.inside), parts.get("text", "")))
    found = []
    for each in label if isinstance(label, tuple) else (label,):
        place = text.find(str(each))
        if place < 0 and (place := text.casefold().find(str(each).casefold())) < 0:
            said = f"the label {str(each)[:100]!r} does not stand in {spec.inside}"
            raise FieldProblem("label_not_in_text", said)
        found.append(text[place : place + len(str(each))])
    return tuple(found) if isinstance(label, tuple) else found[0]


def before_label(value: str, pattern: str) -> str:
    """What stands before the label that the pattern reads. Raises FieldProblem where there is nothing."""
    match = re.search(pattern, value)
    solution = value[: match.start()].strip() if match is not None else value.strip()
    if not solution:
        raise FieldProblem("missing_field", "there is no solution before the label")
    return solution


def _extras(fields: Mapped, reply: Mapping[str, Any], before: Item | None) -> dict[str, Any]:
    extras = {}
    for path, spec in fields.config.named_extras.items():
        name = wire_name(path)
        column = fields.schema.at(path)
        if before is not None and name not in reply and name not in before.extras:
            continue
        value = reply.get(name)
        if value is None and not (column.nullable and name in reply):
            raise FieldProblem("missing_field", f"the field {name!r} is missing")
        if value is not None:
            extras[name] = _extra(name, value, column, listed=spec.separator is not None)
    if (solution := fields.config.solution) is not None:
        name = wire_name(solution)
        value = reply.get(name)
        if not isinstance(value, str) or not value.strip():
            raise FieldProblem("missing_field", f"the field {name!r}, the solution, is missing")
        label = fields.config.label
        own = label is not None and label.field == solution and label.pattern is not None
        extras[name] = before_label(value, label.pattern) if own else value.strip()  # type: ignore[union-attr,arg-type]
    return extras


def _extra(name: str, value: Any, column: Any, *, listed: bool) -> Any:
    if listed:
        if not isinstance(value, list):
            raise FieldProblem("wrong_type", f"the field {name!r} is not of type array")
        return value
    kind = column.type.kind
    if has_any(column.type) and isinstance(value, str):
        try:
            value = loads(value)
        except ValueError:
            if kind != "any":
                raise FieldProblem("wrong_type", f"the field {name!r} is not JSON") from None
    if kind in ("integer", "number", "boolean") and isinstance(value, str) and not column.names:
        read = from_text(value.strip(), kind)
        value = value if read is None else read
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        value = plain(value)
    if column.names:
        unknown = next(
            (n for n in (value if isinstance(value, list) else [value]) if n not in column.names), None
        )
        if unknown is not None:
            raise FieldProblem(
                "wrong_value", f"the field {name!r}: {unknown!r} is none of {', '.join(column.names)}"
            )
        return value
    if (fault := column.complaint(value)) is not None:
        raise FieldProblem("wrong_type", f"the field {name!r} {fault}")
    return value


# --- any part --------------------------------------------------------------------------------------


def mended(value: Any, name: str = "") -> Any:
    """The reply with the backslashes that JSON took from its texts. Raises FieldProblem for control characters."""
    if isinstance(value, str):
        text = restored(value)
        if (control := control_character(text)) is not None:
            raise FieldProblem("control_character", f"the field {name!r} holds {control}")
        return text
    if isinstance(value, dict):
        return {key: mended(inner, name or str(key)) for key, inner in value.items()}
    return [mended(inner, name) for inner in value] if isinstance(value, list) else value


def check_writable(reply: Mapping[str, Any]) -> None:
    """Raises FieldProblem if JSON cannot hold it: nested too deep, lone surrogates, numbers out of range."""
    try:
        orjson.dumps(reply)
    except TypeError as error:
        raise FieldProblem("not_json", str(error)) from None
