"""`datagen judge`: continues an evaluation with a judge for the answers that no rule can score."""

from __future__ import annotations

from engine.evaluation.answering import JUDGE, Judging
from engine.protocols import Validator
from engine.runs.inputs import Inputs
from engine.runs.modes.evaluate import EvaluateMode
from engine.runs.pipeline import Parts, asker
from engine.store.journal import Journal


class JudgeMode(EvaluateMode):
    """Continues in the folder of its evaluation: answered questions are not asked again."""

    name = "judge"
    completed = "Every answer is scored."
    unscored = "On {pending:,} answers the judge gave no word that can be read. Ask once more: datagen judge {folder}"

    def __init__(self, *, again: bool = False) -> None:
        """`again`: repeat a finished judge run for the answers that still have no judgement."""
        self._again = again

    async def begin(self, journal: Journal, inputs: Inputs) -> None:
        journal.replacing()
        if journal.fact("mode") == EvaluateMode.name or self._again:
            await journal.reopen(self.name)

    def steps(self, parts: Parts) -> list[Validator]:
        rounds = int(parts.journal.fact("judge_rounds") or 1)
        return [*super().steps(parts), Judging(asker(parts, JUDGE, priority=-1), rounds)]
