"""Asks a model to sum up why items were rejected, as lessons on what to avoid."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import RunConfig
from engine.errors import PermanentError
from engine.items import SETUP_BATCH, Completion
from engine.planning.delayed import Mistake
from engine.prompts.ask import Asking, ModelAsker
from engine.prompts.replies import object_in

PURPOSE = "lessons"
MOST = 6
"""The most lessons at a time."""
_LONGEST = 300
"""The most characters of a lesson, or of a field of a mistake."""
_SHOWN = 24
"""The most mistakes that the model is shown, drawn at random."""
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "lessons": {
            "type": "array",
            "items": {"type": "string", "maxLength": 300},
            "minItems": 1,
            "maxItems": 6,
        }
    },
    "required": ["lessons"],
    "additionalProperties": False,
}


class Drawing:
    """Asks for lessons. After a call that fails permanently the run keeps the lessons it has."""

    def __init__(self, config: RunConfig, asker: ModelAsker) -> None:
        self._config = config
        self._asker = asker
        self._question = asker.own_question(PURPOSE, _SCHEMA, _read)

    async def __call__(
        self, number: int, mistakes: Sequence[Mistake], before: Sequence[str]
    ) -> tuple[str, ...] | None:
        chance = random.Random(f"{self._config.seed}/{PURPOSE}/{number}")
        shown = _shown(mistakes, chance)
        call = Asking.once(f"{PURPOSE}/{number}", SETUP_BATCH, chance.getrandbits(31))
        description = self._config.dataset.description
        try:
            answered = await self._asker.answered(
                self._question, call, shown, description=description, before=before, most=MOST
            )
        except PermanentError:
            return None
        return answered.reply


def _shown(mistakes: Sequence[Mistake], chance: random.Random) -> dict[str, Any]:
    """The counted reasons for rejection, and a sample of the rejected items."""
    reasons = Counter((mistake.by, mistake.reason) for mistake in mistakes)
    chosen = list(mistakes) if len(mistakes) <= _SHOWN else chance.sample(list(mistakes), _SHOWN)
    return {
        "reasons": {f"{by}: {reason}": count for (by, reason), count in reasons.most_common()},
        "turned_away": [
            {
                "by": each.by,
                "reason": each.reason,
                "said": each.said[:_LONGEST],
                "text": each.text[:_LONGEST],
            }
            for each in chosen
        ],
    }


def _read(completion: Completion) -> tuple[str, ...] | None:
    return lessons_in(completion.text)


def lessons_in(reply: str) -> tuple[str, ...] | None:
    """The lessons of a reply, each on one line; None where it contains no lesson."""
    lessons = (object_in(reply, ("lessons",)) or {}).get("lessons")
    listed = lessons if isinstance(lessons, list) else ()
    lines = [" ".join(each.split())[:_LONGEST] for each in listed if isinstance(each, str) and each.strip()]
    return tuple(lines[:MOST]) or None
