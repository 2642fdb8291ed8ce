"""The answer in a tested model's reply, whatever stands around it."""

from __future__ import annotations

import re

from engine.answers.backslashes import restored
from engine.llm.reasoning import separated
from engine.prompts.replies import object_in

_OBJECT = re.compile(r"\s*(?:```(?:json)?\s*)?\{\s*\"")


def answer_in(reply: str, *, whole: bool = True) -> str:
    """The answer as the model gave it: the field `answer` of its object, else the reply; '' for no answer.

    An object without that field, or one that breaks off, holds no answer, whatever numbers it contains. A
    reply that is not `whole` has no answer either, since it was cut short.
    """
    reply_object = object_in(reply, ("answer",)) if "{" in reply else None
    if reply_object is not None:
        value = reply_object["answer"]
        return "" if value is None or isinstance(value, dict | list) else restored(str(value)).strip()
    answer = separated(reply).answer
    return "" if not whole or _OBJECT.match(answer) else answer.strip()
