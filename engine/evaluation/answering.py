"""Asks a model an item's question, scores the answer, and asks a judge where no rule can decide."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from engine.answers.scoring import scored
from engine.config import RunConfig
from engine.dataset.fields import Fields
from engine.errors import PermanentError, Unparseable
from engine.evaluation.origins import confirmed, groups, open_question
from engine.items import Completion, Decision, Item, Verdict, usd
from engine.prompts.answer import answer_in
from engine.prompts.ask import Answered, Asking, ModelAsker, seed_of
from engine.prompts.replies import object_in
from engine.protocols import Validator

ANSWER, JUDGE = "answer", "judge"
_SHOWN = 2_000
"""Characters of an answer that its record holds; the journal's call has all of it."""
_TRIES = 2


def _schema(**properties: str) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


class Answering:
    """A model's answer to an item's question. PASS with the answer on record; REJECT without an answer.

    The model is shown the text, the choices, and the extra fields that `evaluate.show` names.
    """

    name = ANSWER

    def __init__(
        self,
        asker: ModelAsker,
        config: RunConfig,
        confirming: Collection[str],
        fields: Mapping[str, Fields] | None = None,
    ) -> None:
        """`confirming` names the validators whose verdicts say whether a label is right.

        `fields` are those of each dataset; the config's where absent.
        """
        self._fields = fields or {}
        self._asker = asker
        self._config = config
        self._routed = frozenset(model.called for model in config.evaluate.models)
        self._confirming = confirming
        spec = config.evaluate
        schema = _schema(analysis="string", answer="string") if spec.reasoning else _schema(answer="string")
        self._question = asker.own_question(
            "answer",
            schema,
            _answer,
            temperature=spec.temperature,
            max_tokens=spec.max_tokens,
            attempts=_TRIES,
        )

    async def validate(self, item: Item) -> Verdict:
        """A call that fails permanently counts as no answer. Raises FatalError or StopRun like the call."""
        record: dict[str, Any] = {
            "confirmed": confirmed(item, self._confirming),
            "groups": groups(item, self._config.evaluate.by),
        }
        try:
            answered = await self._answered(item)
        except PermanentError as error:
            cost = usd(error.usage.cost) if error.usage is not None else 0.0
            return Verdict.rejected(ANSWER, error.reason, str(error), {**record, "cost_usd": cost})
        completion, answer = answered.completion, answered.reply
        record |= _cost(answered)
        if not answer:
            reason = "truncated" if completion.finish_reason == "length" else "no_answer"
            return Verdict.rejected(ANSWER, reason, completion.text[:200], record)
        score = scored(answer, item.label or "", item.choices, self._labels(item))
        record |= {
            "answer": answer[:_SHOWN],
            "final": score.final[:_SHOWN],
            "correct": score.correct,
            "by": score.by,
        }
        return Verdict.passed(ANSWER, record)

    async def _answered(self, item: Item) -> Answered[str]:
        """The model's answer; asked once more if its JSON object cannot be read.

        The engine asks for the JSON: one broken brace must not count against what a model knows.
        """
        spec = self._config.evaluate
        shown = self._fields_of(item).question(item)
        shown |= {name: item.extras[name] for name in spec.show if name in item.extras}
        place, seed = f"{item.batch.dataset}/{item.batch.rows[item.position]}", self._config.seed
        call = Asking(
            lambda attempt: f"{item.id}/{ANSWER}/answer/{attempt}",
            item.batch.number,
            item.id,
            # The same question has the same seed for every model.
            lambda attempt: seed_of(seed, f"{place}/{attempt}"),
            model=item.model if item.model in self._routed else "",
        )
        return await self._asker.answered(
            self._question,
            call,
            shown,
            description=self._config.dataset.description,
            instruction=spec.instruction,
            reasoning=spec.reasoning,
            choices=bool(item.choices),
            labels=self._labels(item),
            several=isinstance(item.label, tuple) and bool(self._labels(item)),
        )

    def _fields_of(self, item: Item) -> Fields:
        return self._fields.get(item.batch.dataset) or Fields(self._config.dataset.fields)

    def _labels(self, item: Item) -> tuple[str, ...]:
        """The closed set of labels of the item's dataset; empty where there is none, or the labels are choices."""
        return () if item.choices else self._fields_of(item).closed_labels


def _answer(completion: Completion) -> str | None:
    """'' for an answer that was cut short, since a retry would be too; None for one that cannot be read."""
    whole = completion.finish_reason != "length"
    answer = answer_in(completion.text, whole=whole)
    return answer if answer or not whole else None


class Judging:
    """Judges whether an answer that no rule could score means the same as the label."""

    name = JUDGE

    def __init__(self, asker: ModelAsker, rounds: int = 1) -> None:
        """`rounds`: how often judging has been requested; the journal holds the results of earlier rounds."""
        self._asker = asker
        schema = _schema(final_answer="string", same="boolean")
        self._question = asker.own_question(
            "judgement", schema, _judgement, max_tokens=256, attempts=_TRIES * rounds
        )

    async def validate(self, item: Item) -> Verdict:
        """PASS with the judgement on record, or without one if the call fails permanently."""
        answered = next(verdict.record for verdict in item.verdicts if verdict.by == ANSWER)
        if answered["correct"] is not None:
            return Verdict.passed(JUDGE)
        try:
            judgement = await self._judged(item, str(answered["answer"]))
        except PermanentError as error:
            return Verdict(Decision.PASS, JUDGE, error.reason, str(error))
        return Verdict.passed(JUDGE, judgement)

    async def _judged(self, item: Item, answer: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"text": item.text, "label": item.answer, "answer": answer}
        if item.choices:
            shown["choices"] = list(item.choices)
        call = Asking(lambda attempt: f"{item.id}/{JUDGE}/judgement/{attempt}", item.batch.number, item.id)
        answered = await self._asker.answered(self._question, call, shown)
        if answered.reply is None:
            raise Unparseable("the reply to 'judgement' does not say whether the answer is right")
        same, final = answered.reply
        # The record holds the last attempt's cost; the item's usage holds that of earlier attempts.
        last = Answered(answered.reply, answered.completion, answered.completion.usage)
        return {"correct": same, "final": final, **_cost(last)}


def _judgement(completion: Completion) -> tuple[bool, str] | None:
    """Whether the answer is right, and the final answer that the judge read from it."""
    reply = object_in(completion.text, ("same",)) or {}
    same = reply.get("same")
    return (same, str(reply.get("final_answer", ""))[:_SHOWN]) if isinstance(same, bool) else None


class Confirming:
    """Has a validator that checks labels confirm an item's label; it rejects nothing.

    It runs once for each row, and only where the row does not carry the verdict of an earlier run.
    """

    def __init__(self, validator: Validator, model: str, confirming: Collection[str]) -> None:
        """Checks only the items of `model`: all models have the same items."""
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


def _cost(answered: Answered[Any]) -> dict[str, Any]:
    return {"cost_usd": usd(answered.usage.cost), "seconds": answered.completion.seconds}
