"""What every Validator and every Embedder must keep, as checks that a plugin's own tests can call.

from engine.conformance import check_validator, tools_for

async def test_my_validator():
    await check_validator(lambda tools: MyValidator(tools, strict=True), good=item("…"), bad=item("…"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson

from engine.config import ChoicesField, FieldsConfig, LabelField
from engine.config.paths import user_cache
from engine.constraints import Constraint
from engine.dataset.fields import Fields
from engine.errors import Unparseable
from engine.items import Batch, Completion, Decision, Item, Prompt, Usage
from engine.prompts.ask import ModelAsker
from engine.prompts.replies import object_in
from engine.protocols import Embedder, Tools, Validator

Answers = Callable[[Prompt], Mapping[str, Any] | str]
"""What a scripted model says to a prompt: an object, or a text as it is. May raise what `Tools.ask` raises."""


def item(text: str, label: str | None = None, choices: Sequence[str] = (), position: int = 0) -> Item:
    """An item as a run would hand it to a validator."""
    return Item(Batch(0, 1, 0, 1.0), position, position + 1, text, label, tuple(choices))


def tools_for(
    answers: Answers | None = None,
    *,
    constraints: Sequence[Constraint] = (),
    choices: bool = False,
    asked: list[Prompt] | None = None,
) -> Tools:
    """Tools with a scripted model in place of an endpoint. Prompts are appended to `asked`."""

    async def ask(prompt: Prompt) -> Completion:
        if asked is not None:
            asked.append(prompt)
        if answers is None:
            raise Unparseable("this validator was not expected to ask a model")
        said = answers(prompt)
        text = said if isinstance(said, str) else orjson.dumps(said).decode()
        return Completion(text, "scripted", "stop", Usage(10, 10))

    listed = ChoicesField(field="choices") if choices else None
    fields = Fields(
        FieldsConfig(text="text", label=LabelField(field="label", write="{label}"), choices=listed)
    )
    return Tools(
        ask,
        constraints,
        0,
        -1,
        "Questions with their answers.",
        fields.wire,
        fields.question,
        fields.revised,
        object_in,
        lambda name: ModelAsker(ask, name, 0, priority=-1),
        user_cache(),
    )


@asynccontextmanager
async def opened(validator: Validator) -> AsyncIterator[Validator]:
    """The validator, entered where it is a context manager."""
    if isinstance(validator, AbstractAsyncContextManager):
        async with validator:
            yield validator
    else:
        yield validator


async def check_validator(
    factory: Callable[[Tools], Validator], *, good: Item, bad: Item, answers: Answers | None = None
) -> None:
    """Raises AssertionError where the validator breaks what the engine relies on.

    It must pass `good` and stop or revise `bad`; answer the same twice; leave its item alone; name its calls
    by the item, so that none is paid twice; and refuse an option that it does not know.
    """
    asked: list[Prompt] = []
    validator = factory(tools_for(answers, choices=bool(good.choices), asked=asked))
    assert validator.name, "a validator has a name"
    async with opened(validator):
        first = await validator.validate(good)
        assert first.decision is Decision.PASS, f"the good item was not passed: {first}"
        again = await validator.validate(good)
        assert again.decision is first.decision, "the same item twice has two verdicts"
        stopped = await validator.validate(bad)
        assert stopped.decision is not Decision.PASS, "the bad item was passed"
        assert stopped.reason, "a verdict that is no PASS has a reason: a stable slug"
        if stopped.decision is Decision.REVISE:
            assert stopped.item is not None, "a REVISE brings the new item"
        else:
            assert stopped.item is None, "only a REVISE brings an item"
    for prompt in asked:
        assert prompt.key.startswith((f"{good.id}/", f"{bad.id}/", f"{good.id}.", f"{bad.id}.")), prompt.key
        assert f"/{validator.name}/" in prompt.key, f"a call's key names the validator: {prompt.key}"
        assert prompt.purpose, "a call names its purpose"
    orjson.dumps({**first.record, **stopped.record})  # a record is plain JSON values


async def check_embedder(embedder: Embedder) -> None:
    """Raises AssertionError where the embedder breaks what the engine relies on. It is open already.

    One row for each text, in order, whatever else is in the call; the same text has the same vector but for
    rounding; different texts have different ones; a long text and an odd one have vectors too.
    """
    import numpy as np

    texts = [
        "Two apples and three pears.",
        "The capital of France",
        "word " * 2000,
        "\u00df \U0001f600 \u4e2d",
    ]
    assert embedder.name, "an embedder has a name"
    assert embedder.fingerprint, "an embedder has a fingerprint"
    assert embedder.at_once >= 1, "at least one call at once"
    assert embedder.inputs >= 1, "at least one text in a call"
    vectors = np.asarray(await embedder.embed(texts), np.float32)
    assert vectors.ndim == 2, f"vectors have the shape [texts, dimensions], not {vectors.shape}"
    assert len(vectors) == len(texts), f"{len(texts)} texts, {len(vectors)} vectors"
    assert np.isfinite(vectors).all(), "a text has no vector"
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for place, text in enumerate(texts):
        [alone] = np.asarray(await embedder.embed([text]), np.float32)
        near = float(unit[place] @ (alone / np.linalg.norm(alone)))
        assert near > 0.99, f"text {place} has another vector when it is alone: similarity {near:.4f}"
    assert float((unit @ unit.T)[0, 1]) < 0.999, "different texts have the same vector"
