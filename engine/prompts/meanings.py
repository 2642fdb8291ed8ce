"""What each field of an item is, in words: for a model that is to write items of the same form."""

from __future__ import annotations

from collections.abc import Iterator

from engine.config import LabelField
from engine.config.dataset import wire_name
from engine.dataset.mapping import Mapped


def meanings(mapped: Mapped) -> dict[str, str]:
    """By name on the wire, in the order in which an item has its fields."""
    return dict(_meanings(mapped))


def _meanings(mapped: Mapped) -> Iterator[tuple[str, str]]:
    fields = mapped.config
    if fields.messages is not None:
        yield "messages", _conversation(mapped)
        if fields.messages.tools is not None:
            yield "tools", "the tools that may be called in it, a list as JSON text"
    if len(fields.parts) == 1:
        named = "" if fields.parts[0] == "text" else f" (in the dataset: {fields.parts[0]})"
        yield "text", f"{'the prompt' if fields.chosen is not None else 'the text of the item'}{named}"
    for name in map(wire_name, fields.parts) if len(fields.parts) > 1 else ():
        empty = "; may be empty, as in some of the items" if name in mapped.shape.optional else ""
        yield name, _described(mapped, name, f"a part of the item{empty}")
    if fields.chosen is not None:
        yield "chosen", "the better answer to the prompt, without the prompt"
        yield "rejected", "a worse answer to the same prompt: plausible, and not the same"
    if fields.choices is not None:
        yield "choices", "the possible answers, in order"
    if fields.solution is not None:
        yield wire_name(fields.solution), "the worked solution, step by step, before the answer"
    if fields.label is not None:
        yield "label", _label(mapped, "label", fields.label)
    elif fields.all_labels:
        each = "; ".join(f"{name}: {_label(mapped, name, spec)}" for name, spec in fields.all_labels.items())
        yield "labels", each
    for path in fields.named_extras:
        yield wire_name(path), _described(mapped, path, "as in the dataset")


def _waits(mapped: Mapped) -> bool:
    spec = mapped.config.messages
    return mapped.config.chosen is not None or (spec is not None and spec.last == "user")


def _described(mapped: Mapped, path: str, usual: str) -> str:
    return mapped.schema.column(path).description or usual


def _label(mapped: Mapped, name: str, spec: LabelField) -> str:
    said = "the right answer or label"
    if spec.field != "label":
        said += f" (in the dataset: {spec.field})"
    if mapped.config.choices is not None:
        said += " (a letter: A is the first choice)"
    if name in mapped.several:
        said += ", as a list of all that apply"
    if spec.inside is not None:
        return f"{said}: words that stand in {wire_name(spec.inside)}, exactly as they stand there"
    form = mapped.shape.form(name)
    if form.in_words():
        return f"{said}: {form.in_words()}"
    return f"{said}; {description}" if (description := mapped.schema.at(spec.field).description) else said


def _conversation(mapped: Mapped) -> str:
    spec, chat = mapped.config.messages, mapped.shape.chat
    assert spec is not None
    low, high = spec.turns or chat.turns
    many = f", {low} to {high} messages" if high else ""
    system = {(True, True): ", begun by a system message", (True, False): ", some begun by a system message"}
    first = system.get(chat.system, "") if spec.system != "drop" else ""
    last = "the user's message last, which waits for an answer" if _waits(mapped) else "the assistant last"
    tools = " Tools are called by name, with their arguments as JSON text." if chat.calls else ""
    return f"a whole conversation{first}{many}: user and assistant in turn, {last}.{tools}"
