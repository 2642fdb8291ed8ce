"""One lesson: why items were turned away, summed up by a model as what to avoid."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import RunConfig
from engine.errors import PermanentError
from engine.escaping import fenced, unfenced
from engine.items import SETUP_BATCH, Prompt
from engine.planning.delayed import Mistake
from engine.prompts.render import PromptTemplate
from engine.prompts.replies import object_in
from engine.protocols import Ask

PURPOSE = "lessons"
MOST = 6
"""Lessons at a time."""
_LONGEST = 300
"""Characters of one."""
_SHOWN = 24
"""Mistakes that the model is shown, of each reason its share."""
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"lessons": {"type": "array", "items": {"type": "string"}}},
    "required": ["lessons"],
    "additionalProperties": False,
}


class Drawing:
    """Asks for lessons. A call that fails for good leaves the run with those it has."""

    def __init__(self, config: RunConfig, ask: Ask) -> None:
        self._config = config
        self._ask = ask
        self._template = PromptTemplate.load(PURPOSE)

    async def __call__(
        self, number: int, mistakes: Sequence[Mistake], before: Sequence[str]
    ) -> tuple[str, ...] | None:
        reasons = Counter((mistake.by, mistake.reason) for mistake in mistakes)
        chance = random.Random(f"{self._config.seed}/lessons/{number}")
        chosen = list(mistakes) if len(mistakes) <= _SHOWN else chance.sample(list(mistakes), _SHOWN)
        shown = {
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
        system, user = self._template.render(
            {
                "description": unfenced(self._config.dataset.description),
                "before": [unfenced(each) for each in before],
                "most": MOST,
                "shown": fenced(shown),
            }
        )
        key = f"{PURPOSE}/{number}"
        seed = chance.getrandbits(31)
        prompt = Prompt(key, PURPOSE, SETUP_BATCH, system, user, _SCHEMA, 0.0, 1024, seed, priority=-1)
        try:
            return lessons_in((await self._ask(prompt)).text)
        except PermanentError:
            return None


def lessons_in(reply: str) -> tuple[str, ...] | None:
    """The lessons of a reply, each on one line; None where it holds none."""
    found = (object_in(reply) or {}).get("lessons")
    listed = found if isinstance(found, list) else ()
    lines = [" ".join(each.split())[:_LONGEST] for each in listed if isinstance(each, str) and each.strip()]
    return tuple(lines[:MOST]) or None
