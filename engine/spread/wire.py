"""The values that travel between head and workers, as plain JSON values and back; never code."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import engine.errors
from engine.errors import Defect, EngineError
from engine.items import Batch, Completion, Decision, Item, Label, Passage, Prompt, Usage, Verdict
from engine.schema.values import dumps, loads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Plain = Any
"""A JSON value: what `orjson` writes and reads."""

# --- money, questions, answers ---------------------------------------------------------------------

_NOTHING = Usage()
_usage: Callable[[Usage], Plain] = attrgetter(*(each.name for each in fields(Usage)))
_ASKED = tuple(each.name for each in fields(Prompt) if each.name != "schema")
_asked: Callable[[Prompt], Plain] = attrgetter(*_ASKED)


def usage_out(usage: Usage | None) -> Plain:
    return None if usage is None else 0 if usage == _NOTHING else _usage(usage)


def usage_in(told: Plain) -> Usage | None:
    if told is None:
        return None
    if told == 0:
        return _NOTHING
    values: list[Any] = [*told[:-1], tuple(told[-1])]
    return Usage(*values)


def prompt_out(prompt: Prompt) -> Plain:
    """Without its schema, which many prompts share."""
    return _asked(prompt)


def prompt_in(told: Plain, schema: Mapping[str, Any]) -> Prompt:
    values: list[Any] = [*told[:5], schema, *told[5:]]
    return Prompt(*values)


assert _ASKED[:5] == tuple(each.name for each in fields(Prompt))[:5], (
    "the schema is the sixth field of a Prompt"
)


def completion_out(completion: Completion, known: str | None = None) -> Plain:
    """`known` is a text that the other side has already: it is not sent again."""
    text = None if completion.text == known else completion.text
    return (
        text, completion.model, completion.finish_reason, usage_out(completion.usage), completion.attempts,
        completion.seconds, completion.reasoning, completion.sent,
    )  # fmt: skip


def completion_in(told: Plain, known: str = "") -> Completion:
    text, model, finish, usage, *rest = told
    return Completion(known if text is None else text, model, finish, usage_in(usage) or _NOTHING, *rest)


# --- what went wrong -------------------------------------------------------------------------------


def _kinds(kind: type[EngineError]) -> Iterable[type[EngineError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


KINDS = {kind.__name__: kind for kind in _kinds(EngineError) if kind.__module__ == engine.errors.__name__}


def error_out(error: EngineError) -> Plain:
    """Its kind, its sentence, and what it carries besides. A plugin's own kind travels as the engine's next of kin."""
    kind = next(each.__name__ for each in type(error).__mro__ if KINDS.get(each.__name__) is each)
    carried = {
        name: {"usage": usage_out(value)} if isinstance(value, Usage) else value
        for name, value in vars(error).items()
        if not name.startswith("_") and (value is None or isinstance(value, str | int | float | Usage))
    }
    return kind, str(error), carried


def error_in(told: Plain) -> EngineError:
    name, said, carried = told
    kind = KINDS.get(name, Defect)
    error = kind.__new__(kind)
    Exception.__init__(error, said)
    for key, value in carried.items():
        setattr(error, key, usage_in(value["usage"]) if isinstance(value, dict) else value)
    return error


# --- batches and items -----------------------------------------------------------------------------

_batch: Callable[[Batch], Plain] = attrgetter(*(each.name for each in fields(Batch)))


_passage: Callable[[Passage], Plain] = attrgetter(*(each.name for each in fields(Passage)))
_PASSAGES, _GIVEN = map([each.name for each in fields(Batch)].index, ("passages", "given"))


def _passage_in(told: list[Any]) -> Passage:
    breaks = told.pop()
    values: list[Any] = told
    number, file, sha256, start, end, text, heading, page = values
    return Passage(number, file, sha256, start, end, text, heading, page, tuple(breaks))


def batch_out(batch: Batch) -> Plain:
    if not batch.passages and batch.given is None:
        return _batch(batch)
    values = list(_batch(batch))
    values[_PASSAGES] = [_passage(each) for each in batch.passages]
    values[_GIVEN] = None if batch.given is None else dumps(dict(batch.given))
    return values


def batch_in(told: Plain) -> Batch:
    values: list[Any] = [_tupled(value) if isinstance(value, list) else value for value in told]
    values[_PASSAGES] = tuple(_passage_in(list(each)) for each in values[_PASSAGES])
    values[_GIVEN] = None if values[_GIVEN] is None else loads(values[_GIVEN])
    return Batch(*values)


def _tupled(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _label_in(told: Plain) -> Label | None:
    if isinstance(told, list):
        return tuple(told)
    if isinstance(told, dict):
        return {name: tuple(inner) if isinstance(inner, list) else inner for name, inner in told.items()}
    return told  # type: ignore[no-any-return]


def _exact_out(value: Mapping[str, Any]) -> str | None:
    """Somebody's own values, with numbers of any size, NaN and infinities."""
    return dumps(value) if value else None


def _exact_in(told: str | None) -> Mapping[str, Any]:
    return loads(told) if told is not None else {}


def _verdict_out(verdict: Verdict) -> Plain:
    return (
        verdict.decision.value, verdict.by, verdict.reason, verdict.feedback, verdict.record or 0,
        usage_out(verdict.usage), verdict.calls, verdict.seconds, verdict.tentative,
    )  # fmt: skip


def _verdict_in(told: Plain) -> Verdict:
    decision, by, reason, feedback, record, usage, calls, seconds, tentative = told
    return Verdict(
        Decision(decision), by, reason, feedback, None, record or {}, usage_in(usage) or _NOTHING, calls, seconds,
        tentative,
    )  # fmt: skip


def item_out(item: Item, batch: Batch, *, origin: bool = False) -> Plain:
    """An item of this batch, as the other side knows it; with its `origin` unless it knows that, too."""
    return (
        item.position,
        item.batch_total,
        item.text,
        item.label,
        item.choices,
        _exact_out(item.extras),
        _exact_out(item.parts),
        _exact_out(item.origin) if origin else None,
        item.model,
        usage_out(item.usage),
        item.sent or 0,
        item.quotes,
        [_verdict_out(verdict) for verdict in item.verdicts],
        item.revisions,
        None if item.batch.examples == batch.examples else item.batch.examples,
        item.written,
        bytes_out(item.text_key),
        vector_out(item.vector),
    )


def item_in(told: Plain, batch: Batch, origin: Mapping[str, Any] | None = None) -> Item:
    (
        position, of, text, label, choices, extras, parts, own, model, usage, sent, quotes, verdicts, revisions,
        examples, written, key, vector,
    ) = told  # fmt: skip
    if examples is not None:
        batch = _with_examples(batch, tuple(examples))
    return Item(
        batch, position, of, text, _label_in(label), tuple(choices), _exact_in(extras), _exact_in(parts),
        _exact_in(own) if origin is None else origin, model, usage_in(usage) or _NOTHING, sent or {},
        tuple(map(_verdict_in, verdicts)), revisions, vector_in(vector), bytes_in(key),
        None if written is None else (written[0], written[1]), tuple(quotes),
    )  # fmt: skip


def _with_examples(batch: Batch, examples: tuple[int, ...]) -> Batch:
    return replace(batch, examples=examples)


def bytes_out(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def bytes_in(told: str | None) -> bytes | None:
    return None if told is None else base64.b64decode(told)


def vector_out(vector: npt.NDArray[np.float32] | None) -> str | None:
    """In half precision, to which every vector of an item is rounded before it is used."""
    return None if vector is None else base64.b64encode(vector.astype("<f2").tobytes()).decode()


def vector_in(told: str | None) -> npt.NDArray[np.float32] | None:
    if told is None:
        return None
    import numpy as np

    return np.frombuffer(base64.b64decode(told), "<f2").astype(np.float32)
