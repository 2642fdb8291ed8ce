"""Puts an item to a model, scores what it answers, and asks a judge where no rule can tell."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from engine.config import RunConfig
from engine.errors import PermanentError, Unparseable
from engine.escaping import fenced, unfenced
from engine.evaluation.origins import confirmed, groups, open_question
from engine.evaluation.scoring import answer_in, scored
from engine.items import Completion, Decision, Item, Prompt, Usage, Verdict, usd
from engine.prompts.render import PromptTemplate
from engine.prompts.replies import object_in
from engine.protocols import Ask, Validator

ANSWER, JUDGE = "answer", "judge"
_SHOWN = 2_000
"""Characters of an answer that stay on record; the journal has all of it."""
_TRIES = 2


def _schema(**properties: str) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


class Answering:
    """What a model says to an item's question. PASS with the answer on record; REJECT where it gives none.

    It is shown the text, the choices, and of the extra fields those that `evaluate.show` names.
    """

    name = ANSWER

    def __init__(self, ask: Ask, config: RunConfig, confirming: Collection[str]) -> None:
        """`confirming` are names of validators whose verdict says whether a label is right."""
        self._ask = ask
        self._config = config
        self._routed = frozenset(model.called for model in config.evaluate.models)
        self._confirming = confirming
        self._template = PromptTemplate.load("answer")
        reasoning = config.evaluate.reasoning
        self._schema = _schema(analysis="string", answer="string") if reasoning else _schema(answer="string")

    async def validate(self, item: Item) -> Verdict:
        """A call that fails for good is no answer. Raises FatalError or StopRun, as the call does."""
        record: dict[str, Any] = {
            "confirmed": confirmed(item, self._confirming),
            "groups": groups(item, self._config.evaluate.by),
        }
        try:
            completion, answer = await self._answered(item)
        except PermanentError as error:
            cost = usd(error.usage.cost) if error.usage is not None else 0.0
            return Verdict.rejected(ANSWER, error.reason, str(error), {**record, "cost_usd": cost})
        record |= _taken(completion)
        if not answer:
            reason = "truncated" if completion.finish_reason == "length" else "no_answer"
            return Verdict.rejected(ANSWER, reason, completion.text[:200], record)
        score = scored(answer, item.label or "", item.choices)
        record |= {
            "answer": answer[:_SHOWN],
            "final": score.final[:_SHOWN],
            "correct": score.correct,
            "by": score.by,
        }
        return Verdict.passed(ANSWER, record)

    async def _answered(self, item: Item) -> tuple[Completion, str]:
        """What the model says, and the answer in it; asked once more where its object cannot be read.

        The object is this engine's wish: what a model knows is not to be judged by one broken brace.
        """
        taken = Usage()
        for attempt in range(_TRIES):
            completion = await self._ask(self._prompt(item, attempt + 1))
            taken += completion.usage
            answer = answer_in(completion.text, whole=completion.finish_reason != "length")
            if answer or completion.finish_reason == "length":
                break
        return replace(completion, usage=taken), answer

    def _prompt(self, item: Item, attempt: int) -> Prompt:
        spec = self._config.evaluate
        shown: dict[str, Any] = {"text": item.text}
        if item.choices:
            shown["choices"] = list(item.choices)
        shown |= {name: item.extras[name] for name in spec.show if name in item.extras}
        system, user = self._template.render(
            {
                "description": unfenced(self._config.dataset.description),
                "instruction": unfenced(spec.instruction),
                "reasoning": spec.reasoning,
                "choices": bool(item.choices),
                "shown": fenced(shown),
            }
        )
        key = f"{item.id}/{ANSWER}/answer/{attempt}"
        place = f"{item.batch.dataset}/{item.batch.rows[item.position]}/{attempt}"
        return Prompt(
            key=key,
            purpose="answer",
            batch=item.batch.number,
            system=system,
            user=user,
            schema=self._schema,
            temperature=spec.temperature,
            max_tokens=spec.max_tokens,
            # The same question has the same seed for every model.
            seed=_seed(self._config.seed, place),
            model=item.model if item.model in self._routed else "",
        )


class Judging:
    """Whether an answer that no rule could score means what the label says."""

    name = JUDGE

    def __init__(self, ask: Ask, seed: int, rounds: int = 1) -> None:
        """`rounds`: how often it was told to judge; what earlier rounds brought stands in the journal."""
        self._ask = ask
        self._seed = seed
        self._tries = _TRIES * rounds
        self._template = PromptTemplate.load("judgement")
        self._schema = _schema(final_answer="string", same="boolean")

    async def validate(self, item: Item) -> Verdict:
        """PASS with the judgement on record; without one, where the call fails for good, it stays open."""
        answered = next(verdict.record for verdict in item.verdicts if verdict.by == ANSWER)
        if answered["correct"] is not None:
            return Verdict.passed(JUDGE)
        try:
            found = await self._judged(item, str(answered["answer"]))
        except PermanentError as error:
            return Verdict(Decision.PASS, JUDGE, error.reason, str(error))
        return Verdict.passed(JUDGE, found)

    async def _judged(self, item: Item, answer: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"text": item.text, "label": item.label, "answer": answer}
        if item.choices:
            shown["choices"] = list(item.choices)
        system, user = self._template.render({"shown": fenced(shown)})
        for attempt in range(self._tries):
            key = f"{item.id}/{JUDGE}/judgement/{attempt + 1}"
            prompt = Prompt(
                key,
                "judgement",
                item.batch.number,
                system,
                user,
                self._schema,
                0.0,
                256,
                _seed(self._seed, key),
                -1,
            )
            completion = await self._ask(prompt)
            found = object_in(completion.text) or {}
            if isinstance(found.get("same"), bool):
                return {
                    "correct": found["same"],
                    "final": str(found.get("final_answer", ""))[:_SHOWN],
                    **_taken(completion),
                }
        raise Unparseable("the reply to 'judgement' does not say whether the answer is right")


class Confirming:
    """Whether an item's label holds, by a validator that checks labels; it turns nothing away.

    Asked once for each row, and only where the row does not carry the verdict of an earlier run.
    """

    def __init__(self, validator: Validator, model: str, confirming: Collection[str]) -> None:
        """It looks at the items of one model only, which stand for those of the others."""
        self.name = validator.name
        self._validator = validator
        self._model = model
        self._confirming = confirming

    async def validate(self, item: Item) -> Verdict:
        if item.model != self._model or confirmed(item, self._confirming) is not None:
            return Verdict.passed(self.name)
        try:
            verdict = await self._validator.validate(item)
        except PermanentError as error:
            return Verdict(Decision.PASS, self.name, error.reason, str(error))
        holds = verdict.decision is Decision.PASS
        record = {} if open_question(verdict.reason, verdict.record) else {"confirmed": holds}
        return Verdict(Decision.PASS, self.name, verdict.reason, verdict.feedback, record=record)


def _taken(completion: Completion) -> dict[str, Any]:
    return {"cost_usd": usd(completion.usage.cost), "seconds": completion.seconds}


def _seed(seed: int, key: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1
