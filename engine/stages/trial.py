"""Tries every check, and each of its policies, on a case of a calibration by itself; decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.answers.scoring import same_label
from engine.dataset.fields import Fields
from engine.dataset.forms import Example
from engine.diversity import GROUP_CHECK
from engine.errors import PermanentError
from engine.items import Completion, Decision, Item, Verdict, usd
from engine.prompts.ask import Asking, ModelAsker
from engine.prompts.replies import object_in
from engine.protocols import Question, Validator
from engine.quality.cases import CLEAN, NATURAL
from engine.stages.cases import NAME
from engine.stages.refine import Refine

if TYPE_CHECKING:
    from engine.stages.groupcheck import GroupCheck

_SHOWN = 200


@dataclass(frozen=True)
class Policy:
    """One way to decide: a validator with its options, as far as they differ from the config's."""

    options: Mapping[str, Any]
    validator: Validator

    @property
    def called(self) -> str:
        """'agree: 2, max_programs: 3'; '' for the config's own."""
        return ", ".join(f"{name}: {value}" for name, value in self.options.items())


class Trial:
    """The stage's step: adds to the case's record what each check says of it, alone, and whether that is right.

    Mutable state: the cases under way, as they came.
    """

    def __init__(
        self,
        policies: Mapping[str, Sequence[Policy]],
        refine: Refine | None,
        group: GroupCheck | None,
        fields: Fields,
        held: Sequence[Example],
        asker: ModelAsker,
    ) -> None:
        """`policies` by validator, the configured one first; `refine` judges as a run does, None without validators."""
        self._policies = policies
        self._refine = refine
        self._group = group
        self._fields = fields
        self._held = held
        self._asker = asker
        self._came: dict[int, Item] = {}
        schema = {
            "type": "object",
            "properties": {"final_answer": {"type": "string"}, "same": {"type": "boolean"}},
            "required": ["final_answer", "same"],
            "additionalProperties": False,
        }
        self._judgement: Question[bool] = asker.own_question(
            "judgement", schema, _same, max_tokens=256, attempts=2
        )

    async def __call__(self, item: Item) -> Sequence[Item]:
        if item.settled:
            return (item,)
        record = dict(item.verdicts[0].record)
        known = self._held[item.batch.number]
        record["right"] = await self._right(item, item, known, record["kind"])
        record["label"] = item.answer[:_SHOWN]
        record["checks"] = {
            name: {
                policy.called: await self._tried(policy, item, known, record["kind"]) for policy in policies
            }
            for name, policies in self._policies.items()
        }
        if self._group is not None:
            record["checks"][GROUP_CHECK] = {"": await self._compared(self._group, item, record["right"])}
        self._came[item.number] = item
        return (item.evolve(verdicts=(Verdict.passed(NAME, record),)),)

    async def result(self, item: Item) -> Sequence[Item]:
        """The step after the last check: the group check's word, and whether what is accepted is right."""
        came = self._came.pop(item.number, item)
        if item.settled:
            return (item,)
        record = item.verdicts[0].record
        if self._group is not None:
            verdict = self._group.same_text(item) or (await self._group.compare([item])).nearest(item)
            if verdict is not None:
                return (item.judged(verdict),)
        right = await self._right(item, came, self._held[item.batch.number], record["kind"])
        return (item.judged(Verdict.passed(NAME, {"right": right})),)

    async def _tried(self, policy: Policy, item: Item, known: Example, kind: str) -> dict[str, Any]:
        assert self._refine is not None
        judged = await self._refine.judged(policy.validator, item)
        verdict = judged.verdicts[-1]
        return {
            "decision": verdict.decision.value,
            "reason": verdict.reason,
            "right": None
            if verdict.decision is Decision.REJECT
            else await self._right(judged, item, known, kind),
            "label": judged.answer[:_SHOWN],
            "usd": usd(verdict.usage.cost),
            "calls": verdict.calls,
            "tokens": [verdict.usage.prompt_tokens, verdict.usage.completion_tokens],
        }

    async def _compared(self, group: GroupCheck, item: Item, right: bool | None) -> dict[str, Any]:
        verdict = group.same_text(item) or (await group.compare([item])).nearest(item)
        if verdict is None:
            return {
                "decision": "pass",
                "reason": "",
                "right": right,
                "label": item.answer[:_SHOWN],
                "usd": 0.0,
            }
        return {"decision": "reject", "reason": verdict.reason, "right": None, "label": "", "usd": 0.0}

    async def _right(self, item: Item, came: Item, known: Example, kind: str) -> bool | None:
        """Whether the item is right: its label is the known one's, and its text is as it came.

        None where that cannot be told: a check has changed the text, or nobody can compare the labels.
        """
        if kind not in (NATURAL, CLEAN):  # a planted defect
            return await self._mended(item, came, known) if item is not came else False
        return await self._same_label(item, known) if _text(item) == _text(came) else None

    async def _mended(self, item: Item, came: Item, known: Example) -> bool | None:
        if _text(item) == _text(known):
            return await self._same_label(item, known)
        return False if (_text(item), item.label) == (_text(came), came.label) else None

    async def _same_label(self, item: Item, known: Example) -> bool | None:
        right = same_label(item.label, known.label, known.choices, self._fields.closed_labels)
        return right if right is not None else await self._judged(item, known)

    async def _judged(self, item: Item, known: Example) -> bool | None:
        shown = {"text": item.text, "label": known.answer, "answer": item.answer}
        digest = hashlib.blake2b(item.answer.encode("utf-8", "replace"), digest_size=8).hexdigest()
        key = f"{item.id}/{NAME}/judgement/{digest}"
        call = Asking(lambda attempt: f"{key}/{attempt}", item.batch.number, item.id)
        try:
            return (await self._asker.answered(self._judgement, call, shown)).reply
        except PermanentError:
            return None


def _text(item: Item | Example) -> tuple[object, ...]:
    """All of an item but its label, and what was written besides."""
    return item.text, item.parts, item.choices


def _same(completion: Completion) -> bool | None:
    same = (object_in(completion.text, ("same",)) or {}).get("same")
    return same if isinstance(same, bool) else None
