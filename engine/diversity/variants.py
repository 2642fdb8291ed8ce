"""Makes variants of a text that differ from it in a known way: reworded, other names, other numbers."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

_OTHER_WORDS = {
    "how many": "what is the number of",
    "how much": "what amount of",
    "what is": "tell me",
    "which of the following": "which one of these",
    "buys": "purchases",
    "bought": "purchased",
    "gives": "hands",
    "gave": "handed",
    "gets": "receives",
    "got": "received",
    "makes": "produces",
    "made": "produced",
    "costs": "is priced at",
    "each": "apiece",
    "every day": "daily",
    "each day": "daily",
    "per day": "a day",
    "total": "overall",
    "altogether": "in all",
    "in total": "overall",
    "left": "remaining",
    "has": "owns",
    "needs": "requires",
    "wants": "would like",
    "starts": "begins",
    "started": "began",
    "finishes": "completes",
    "sells": "is selling",
    "sold": "managed to sell",
    "uses": "makes use of",
    "used": "made use of",
    "most likely": "in all likelihood",
    "because": "since",
    "therefore": "so",
    "children": "kids",
    "people": "persons",
    "house": "home",
    "car": "vehicle",
    "store": "shop",
    "money": "cash",
    "large": "big",
    "small": "little",
    "find": "determine",
    "does not": "doesn't",
    "is not": "isn't",
    "during": "in the course of",
}
_WORDS = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _OTHER_WORDS), key=len, reverse=True)) + r")\b", re.I
)
_NAMES = (
    "Adele Boris Carmen Dario Esme Felix Gerda Hamid Irma Jarek Kenza Luca Maren Nils Orla Petra Rafael Sunniva"
    " Timur Ulla Viktor Wanda Yara Zeno"
).split()
_NOT_NAMES = frozenset(
    "The A An If In On At For When While After Before How What Which Who Where Why There This That These Those It He"
    " She They We You I Each Every All Some Then Today Yesterday Monday Tuesday Wednesday Thursday Friday Saturday"
    " Sunday January February March April May June July August September October November December".split()
)


def in_other_words(text: str) -> str:
    """The text with words replaced from a list."""
    return _WORDS.sub(lambda match: _like(match[0], _OTHER_WORDS[match[0].casefold()]), text)


def reworded(text: str, chance: random.Random) -> str:
    """The text in other words, and sometimes with an opening sentence."""
    changed = in_other_words(text)
    opening = chance.choice(("", "", "Consider this. ", "Here is a question. "))
    return opening + changed


def _like(before: str, after: str) -> str:
    return after[0].upper() + after[1:] if before[0].isupper() else after


def renamed(text: str, chance: random.Random) -> str:
    """The text with other names for persons; every occurrence of a name gets the same replacement."""
    return put_names(text, other_names(text, chance))


def other_names(text: str, chance: random.Random) -> dict[str, str]:
    """Another name for each name of a person in the text."""
    found = dict.fromkeys(re.findall(r"(?<![.!?]\s)(?<!^)\b[A-Z][a-z]{2,}\b", text))
    names = [name for name in found if name not in _NOT_NAMES]
    others = iter(chance.sample(_NAMES, min(len(names), len(_NAMES))))
    return dict(zip(names, others, strict=False))


def put_names(text: str, given: Mapping[str, str]) -> str:
    """The text with these names in place of others."""
    return re.sub(r"\b[A-Z][a-z]{2,}\b", lambda match: given.get(match[0], match[0]), text)


def renumbered(text: str, chance: random.Random) -> str:
    """The text with other numbers of about the same size."""

    def other(match: re.Match[str]) -> str:
        value = int(match[0])
        return str(value + chance.choice([step for step in range(-9, 10) if step and value + step > 0]))

    return re.sub(r"(?<![\d.,])\d{1,9}(?![\d.,]*\d)", other, text)


VARIANTS: Mapping[str, Callable[[str, random.Random], str]] = {
    "reworded": reworded,
    "other names": renamed,
    "other numbers": renumbered,
}
