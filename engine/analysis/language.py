"""The language that most texts of a dataset are written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_FEWEST_LETTERS = 20
_MOST = 200
"""Texts that are looked at."""
_AGREE = 0.8


def language_of(texts: Iterable[str]) -> str | None:
    """The ISO 639-1 code; None where too few agree, or all are too short to tell."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    seen: Counter[str] = Counter()
    for text in texts:
        if sum(map(str.isalpha, text)) >= _FEWEST_LETTERS:
            seen[identifier.classify(text)[0]] += 1
        if seen.total() == _MOST:
            break
    best = seen.most_common(1)
    return best[0][0] if best and best[0][1] >= _AGREE * seen.total() and len(best[0][0]) == 2 else None
